# Modules that the interpreter lacks, as far as plugins use them: typing, dataclasses, enum.


class _Module:
    def __init__(self, name, members):
        self.__name__ = name
        for key, value in members.items():
            setattr(self, key, value)


class _Anything:
    """Stands for every type: subscripts, unions and calls of it are it again."""

    def __getitem__(self, _):
        return self

    def __or__(self, _):
        return self

    def __ror__(self, _):
        return self

    def __call__(self, *_, **__):
        return self


_anything = _Anything()


class _Typing(_Module):
    def __getattr__(self, _):
        return _anything


class _Plain:
    pass


def _same(value):
    return value


_typing = _Typing(
    "typing",
    {
        "TYPE_CHECKING": False,
        "Protocol": _Plain,
        "Generic": _anything,
        "TypedDict": dict,
        "cast": lambda _, value: value,
        "overload": _same,
        "final": _same,
        "override": _same,
        "NewType": lambda _, kind: kind,
    },
)

_NOTHING = object()


class _Field:
    def __init__(self, default=_NOTHING, default_factory=None, **_):
        self.default = default
        self.factory = default_factory


def _default(value):
    if not isinstance(value, _Field):
        return value
    if value.factory:
        return value.factory()
    if value.default is _NOTHING:
        raise TypeError("a field without a default is not given")
    return value.default


def _dataclass(cls=None, _fields=(), frozen=False, **_):
    if cls is None:
        return lambda decorated: _dataclass(decorated, _fields, frozen)
    inherited = getattr(cls, "__dataclass_fields__", ())
    names = [name for name in inherited if name not in _fields] + list(_fields)
    defaults = dict(getattr(cls, "_dataclass_defaults", {}))
    for name in _fields:
        if hasattr(cls, name):
            defaults[name] = getattr(cls, name)
    title = cls.__name__

    # A function as one would write it: the interpreter takes arguments apart faster than any code of ours could.
    given = ", ".join([name + ("=_nothing" if name in defaults else "") for name in names])
    lines = ["def made(_defaults, _made, _nothing):", " def __init__(self%s):" % (given and ", " + given)]
    for name in names:
        if name in defaults:
            lines.append("  if %s is _nothing: %s = _made(_defaults[%r])" % (name, name, name))
        lines.append("  self.%s = %s" % (name, name))
    if hasattr(cls, "__post_init__"):
        lines.append("  self.__post_init__()")
    lines.append("  pass\n return __init__\n")
    scope = {}
    exec("\n".join(lines), scope)
    __init__ = scope["made"](defaults, _default, _NOTHING)

    def __repr__(self):
        return "%s(%s)" % (title, ", ".join(["%s=%r" % (name, getattr(self, name)) for name in names]))

    def __eq__(self, other):
        return type(self) is type(other) and all(getattr(self, n) == getattr(other, n) for n in names)

    cls.__dataclass_fields__ = tuple(names)
    cls._dataclass_defaults = defaults
    cls.__init__ = __init__
    cls.__repr__ = __repr__
    cls.__eq__ = __eq__
    return cls


def _asdict(value):
    return {name: getattr(value, name) for name in type(value).__dataclass_fields__}


def _replace(value, **changes):
    named = {name: getattr(value, name) for name in type(value).__dataclass_fields__}
    named.update(changes)
    return type(value)(**named)


_dataclasses = _Module(
    "dataclasses",
    {
        "dataclass": _dataclass,
        "field": _Field,
        "asdict": _asdict,
        "replace": _replace,
        "is_dataclass": lambda value: hasattr(value, "__dataclass_fields__"),
    },
)


class _Member:
    def __init__(self, kind, name, value):
        self._kind = kind
        self.name = name
        self.value = value

    def __repr__(self):
        return "%s.%s" % (self._kind, self.name)

    def __eq__(self, other):
        if isinstance(other, _Member):
            return self._kind == other._kind and self.name == other.name
        return self.value == other

    def __hash__(self):
        return hash(self.name)


class _EnumKind:
    """What a class of members becomes: they are its attributes, it gives them by value and by name, in their order."""

    def __init__(self, cls, names):
        self.__name__ = cls.__name__
        self._members = []
        for number, name in enumerate(names):
            value = getattr(cls, name)
            member = _Member(cls.__name__, name, number + 1 if value is _auto else value)
            self._members.append(member)
            setattr(self, name, member)

    def __call__(self, value):
        for member in self._members:
            if member.value == value or member is value:
                return member
        raise ValueError("%r is not a valid %s" % (value, self.__name__))

    def __getitem__(self, name):
        for member in self._members:
            if member.name == name:
                return member
        raise KeyError(name)

    def __iter__(self):
        return iter(self._members)

    def __len__(self):
        return len(self._members)


_auto = object()
_enum = _Module(
    "enum",
    {"Enum": _Plain, "IntEnum": _Plain, "StrEnum": _Plain, "auto": lambda: _auto, "unique": _same},
)


class _Abc:
    pass
