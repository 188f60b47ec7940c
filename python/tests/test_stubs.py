"""The stubs say what the native module really has, and the types hold."""

import ast
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import casm
import pytest
from casm import _casm

PACKAGE = Path(casm.__file__).parent
STUB = ast.parse((PACKAGE / "_casm.pyi").read_text())
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}

# Every object has them, or they are of no use to a type checker.
COMMON = set(dir(object)) | {"__module__", "__doc__", "__class_getitem__", "__weakref__"}


def members(cls):
    return {
        item.name if isinstance(item, ast.FunctionDef) else item.target.id: item
        for item in cls.body
        if isinstance(item, ast.FunctionDef | ast.AnnAssign)
    }


def test_the_stub_names_what_the_module_has():
    real = {name for name in vars(_casm) if not name.startswith("__")}
    assert real == CLASSES.keys() | FUNCTIONS.keys()


@pytest.mark.parametrize("name", CLASSES)
def test_the_stub_of_a_class_names_its_members(name):
    cls = getattr(_casm, name)
    bases = set().union(*(vars(base) for base in cls.__mro__[1:]))
    real = vars(cls).keys() - bases - COMMON
    assert real == members(CLASSES[name]).keys() - COMMON - bases


def test_the_stub_of_a_class_names_what_a_match_takes_apart():
    matched = [cls for cls in CLASSES if "__match_args__" in members(CLASSES[cls])]
    assert len(matched) >= 12
    for name in matched:
        literals = ast.walk(members(CLASSES[name])["__match_args__"])
        said = [item.value for item in literals if isinstance(item, ast.Constant)]
        assert tuple(said) == getattr(_casm, name).__match_args__, name


def signatures():
    for name, function in FUNCTIONS.items():
        yield name, getattr(_casm, name), function
    for name, cls in CLASSES.items():
        for member, item in members(cls).items():
            if isinstance(item, ast.FunctionDef) and not item.decorator_list:
                dunder = member.startswith("__")
                if member == "__new__":
                    yield f"{name}", getattr(_casm, name), item
                elif not dunder:
                    yield f"{name}.{member}", getattr(getattr(_casm, name), member), item


@pytest.mark.parametrize(("name", "real", "stub"), [*signatures()], ids=lambda v: str(v)[:40])
def test_the_stub_of_a_call_has_its_parameters(name, real, stub):
    parameters = list(inspect.signature(real).parameters.values())
    if parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    args = stub.args
    positional = [a.arg for a in args.args if a.arg not in ("self", "cls")]
    keyword = [a.arg for a in args.kwonlyargs]
    assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == positional
    assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == keyword
    optional = positional[len(positional) - len(args.defaults) :] + [
        a for a, default in zip(keyword, args.kw_defaults, strict=True) if default is not None
    ]
    assert [p.name for p in parameters if p.default is not p.empty] == optional


def test_the_package_says_that_it_is_typed_and_its_module_fits_every_later_python():
    assert (PACKAGE / "py.typed").exists()
    assert ".abi3." in Path(_casm.__file__).name or sys.platform == "win32"


def test_classes_are_frozen_and_no_lock_of_the_interpreter_is_relied_on():
    source = Path(__file__).parents[1] / "src"
    classes = re.findall(r"#\[pyclass\b.*", "".join(f.read_text() for f in source.glob("*.rs")))
    assert len(classes) >= 15 and all("frozen" in line for line in classes), classes
    assert "pymodule(gil_used = false)" in (source / "lib.rs").read_text()


def test_everything_public_has_a_docstring():
    for cls in (getattr(casm, name) for name in casm.__all__):
        if inspect.isclass(cls):
            assert cls.__doc__, cls
            for name, member in vars(cls).items():
                if not name.startswith("_") and (callable(member) or inspect.isdatadescriptor(member)):
                    assert member.__doc__, (cls, name)


# The examples, and what says which types there are.
TYPED = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
TYPED.append(Path(__file__).with_name("typed.py"))


def passes(*command):
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_mypy_strict_passes_on_the_package_and_the_examples():
    passes("mypy", "--strict", PACKAGE, *TYPED)


def test_pyright_strict_passes_on_the_examples(tmp_path):
    # Only what lies beside its settings is looked at.
    for file in TYPED:
        shutil.copy(file, tmp_path)
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(PACKAGE.parent)]}
    # What is to be wrong must be wrong for both: a comment that is for mypy says
    # nothing here, and one of no use is an error.
    settings |= {"enableTypeIgnoreComments": False, "reportUnnecessaryTypeIgnoreComment": True}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    python = ("--pythonpath", sys.executable, "--pythonversion", "3.10")
    report = passes("pyright", "--outputjson", *python, "--project", tmp_path)
    assert json.loads(report)["summary"]["filesAnalyzed"] == len(TYPED)
