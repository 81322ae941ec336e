# How modules are found, and what the builder runs. Last part of the prelude.

_json = _Module(
    "json",
    {
        "loads": lambda text, **_: from_json(text),
        "dumps": lambda value, **_: to_json(value),
        "load": lambda file, **_: from_json(file.read()),
        "dump": lambda value, file, **_: file.write(to_json(value)),
        "JSONDecodeError": ValueError,
    },
)
_abc = _Module("abc", {"ABC": _Abc, "abstractmethod": _same})
_future = _Module("__future__", {"annotations": True})
for _module in (_typing, _dataclasses, _enum, _sdk, _json, _abc, _future):
    sys.modules[_module.__name__] = _module

_sources = {}
# The author's own files: frames of others are of no use in an error.
_paths = set()
_import = builtins.__import__


def _importing(name, scope=None, local=None, names=(), level=0):
    if level:
        name = name or (names[0] if names else "")
        if not name:
            raise ImportError("a relative import needs a name")
    if name not in sys.modules and name in _sources:
        path, code = _sources.pop(name)
        _load(name, path, code)
    if name in sys.modules and not (level and name not in sys.modules):
        return sys.modules[name]
    return _import(name, scope, local, names, 0)


builtins.__import__ = _importing


def _load(name, path, code):
    scope = {"__name__": name, "__file__": path, "__enum": _EnumKind}
    module = _Module(name, {})
    sys.modules[name] = module
    exec(compile(code, path, "exec"), scope)
    for key, value in scope.items():
        setattr(module, key, value)
    return scope


def __build(entry, files, async_names):
    """Runs the author's code; tells the names of its exports, or what went wrong."""
    global _building
    try:
        for name, path, code in files:
            _sources[name] = (path, code)
            _paths.add(path)
        path, code = _sources.pop(entry)
        scope = _load("plugin", path, code)
        for name, value in scope.items():
            if name in _INTERFACES and callable(value):
                _export(name, value, name in async_names)
        for name, value in (scope.get("functions") or {}).items():
            _export("function:" + name, value, getattr(value, "__name__", "") in async_names)
        _sources.clear()
        _building = False
        _output(_dumps({"exports": _names}))
    except BaseException as thrown:
        _output(to_json({"failure": _failure(thrown)}))
