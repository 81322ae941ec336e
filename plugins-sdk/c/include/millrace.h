/**
 * Millrace plugins in C and C++: include this one file. Everything is `static`; a plugin may have many sources.
 *
 * Memory: nothing that this header hands out has to be freed, and all of it stays valid until the call returns. An
 * instance that serves several calls (`reuse`) gives it back when the next one begins; what you keep for that is yours.
 * Text is UTF-8. What comes in is also terminated by a zero byte; text with zero bytes inside keeps its `length`.
 */
#ifndef MILLRACE_H
#define MILLRACE_H

#include "millrace/memory.h"
#include "millrace/abi.h"
#include "millrace/time.h"
#include "millrace/json.h"
#include "millrace/writer.h"
#include "millrace/host.h"
#include "millrace/http.h"
#include "millrace/network.h"
#include "millrace/store.h"
#include "millrace/fetch.h"
#include "millrace/sync.h"
#include "millrace/poll.h"
#include "millrace/context.h"
#include "millrace/route.h"

#endif
