/**
 * Millrace plugins in C and C++: include this one file. Everything is `static`; a plugin may have many sources.
 *
 * Memory: every call runs on a fresh instance, which is dropped whole at its end. So nothing that this header hands
 * out has to be freed, and all of it stays valid until the call returns.
 * Text is UTF-8. What comes in is also terminated by a zero byte; text with zero bytes inside keeps its `length`.
 */
#ifndef MILLRACE_H
#define MILLRACE_H

#include "millrace/abi.h"
#include "millrace/time.h"
#include "millrace/json.h"
#include "millrace/writer.h"
#include "millrace/host.h"
#include "millrace/http.h"
#include "millrace/store.h"
#include "millrace/fetch.h"
#include "millrace/poll.h"
#include "millrace/route.h"

#endif
