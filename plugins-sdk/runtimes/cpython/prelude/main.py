# How modules are found, and what the builder runs. Last part of the prelude.
import gc as _gc_
import importlib.machinery as _machinery_
import inspect as _inspect_

_sources = {}
# The author's own files: frames of others are of no use in an error.
_paths = set()
sys.modules["millrace"] = _sdk


class _Own:
    """Finds and loads the author's files, which lie beside each other."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        return _machinery_.ModuleSpec(name, _Own, origin=_sources[name][0]) if name in _sources else None

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        path, code = _sources[module.__name__]
        module.__file__ = path
        exec(compile(code, path, "exec"), module.__dict__)


class _Printed:
    """Standard output and error: lines of the run's log. The descriptors behind them are the host's."""

    encoding = "utf-8"

    def __init__(self):
        self.line = ""

    def write(self, text):
        *lines, self.line = (self.line + text).split("\n")
        for line in lines:
            if not _building:
                log.info(line)
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return False


sys.stdout, sys.stderr = _Printed(), _Printed()
sys.meta_path.insert(0, _Own)


def __build(entry, files, async_names):
    """Runs the author's code; tells the names of its exports, or what went wrong."""
    global _building
    try:
        for name, path, code in files:
            _sources[name] = (path, code)
            _paths.add(path)
        scope = __import__(entry).__dict__
        for name, value in scope.items():
            if name in _INTERFACES and callable(value):
                _export(name, value, _inspect_.iscoroutinefunction(value))
        for name, value in (scope.get("functions") or {}).items():
            _export("function:" + name, value, _inspect_.iscoroutinefunction(value))
        _building = False
        _output(_json_.dumps({"exports": _names}))
    except BaseException as thrown:
        _output(to_json({"failure": _failure(thrown)}))
    # What lives now lives as long as the plugin: collecting begins when much more has come.
    _gc_.collect()
    _gc_.freeze()
    _gc_.set_threshold(100_000, 20, 20)


def __run(number):
    _os_.write(1, b"s%d" % __dispatch(int.from_bytes(number, "little")))
