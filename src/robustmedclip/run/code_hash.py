"""A hash of the code that something depends on, so that nobody raises a version number by hand.

What counts are the syntax trees of modules, without docstrings, comments and layout, and those of all modules that they
import, inside functions too, as far as these belong to robustmedclip or to the package of something that is plugged in.
Modules that type checkers alone import don't count.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = __name__.partition(".")[0]


def code_hash(modules: Iterable[str]) -> str:
    """Hash of the code of modules and of all that they import, of robustmedclip and of their own packages.

    Parameters
    ----------
    modules : iterable of str
        Dotted names.
    """
    start = frozenset(modules)
    packages = frozenset({_PACKAGE, *(name.partition(".")[0] for name in start)})
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(reached_modules(start, packages)):
        digest.update(f"{name}\0{_code(name)[0]}\0".encode())
    return digest.hexdigest()


@cache
def reached_modules(start: frozenset[str], packages: frozenset[str]) -> frozenset[str]:
    """The modules among some packages that others lead to by their imports, those others included."""
    reached, waiting = set(), {name for name in start if _is_code_of(name, packages)}
    while waiting:
        reached.add(name := waiting.pop())
        waiting |= {other for other in _code(name)[1] if _is_code_of(other, packages)} - reached
    return frozenset(reached)


def _is_code_of(name: str, packages: frozenset[str]) -> bool:
    """Whether a name is a module of the packages; a package's outermost module, which says what it is, is none."""
    return name.partition(".")[0] in packages and name != _PACKAGE and _file(name) is not None


@cache
def _file(name: str) -> Path | None:
    """The source file of a module, found without importing it or its packages; None if there is none."""
    top, *inside = name.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not inside:
        return Path(spec.origin) if spec.origin is not None and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or ():
        place = Path(folder, *inside)
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None


def _tree(name: str) -> ast.Module:
    file = _file(name)
    assert file is not None
    return ast.parse(file.read_bytes())


@cache
def _code(name: str) -> tuple[str, frozenset[str]]:
    """Hash of a module's syntax tree without docstrings, and the modules that it imports.

    Of names that a package hands on, these are the modules that define them.
    """
    tree = _tree(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
    imports = frozenset(_statements(tree, name))
    return hashlib.blake2b(ast.dump(tree).encode(), digest_size=16).hexdigest(), imports


def _statements(tree: ast.AST, name: str) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from _statements(other, name)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, name)
            yield from (_defining_module(module, alias.name) for alias in node.names)
        else:
            yield from _statements(node, name)


def _absolute(node: ast.ImportFrom, name: str) -> str:
    if not node.level:
        return node.module or ""
    file = _file(name)
    parts = name.split(".") if file is not None and file.name == "__init__.py" else name.split(".")[:-1]
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, node.module] if node.module else parts)


@cache
def _defining_module(module: str, attribute: str) -> str:
    """The module that ``from module import attribute`` gets it from."""
    if _file(f"{module}.{attribute}") is not None:
        return f"{module}.{attribute}"
    original = _handed_on(module).get(attribute)
    return _defining_module(*original) if original else module


@cache
def _handed_on(module: str) -> dict[str, tuple[str, str]]:
    """Names that a package has from other modules: name to module, and what it is called there."""
    file = _file(module)
    if file is None or file.name != "__init__.py":
        return {}
    return {
        alias.asname or alias.name: (_absolute(node, module), alias.name)
        for node in reversed(_tree(module).body)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
