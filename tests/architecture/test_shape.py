"""The shape of the project: layers, sizes of modules, flags that every command has."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("toolkit", "deploy", "indexes", "cli")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def test_imports_point_one_way() -> None:
    lint = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if lint is None:
        pytest.skip("import-linter is not installed (make setup brings it)")
    done = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


def imported(module: Path) -> set[str]:
    """The top names that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


# The same contract read with ast alone: it also sees imports inside functions.
MAY_IMPORT = {
    "toolkit": {"toolkit"},
    "deploy": {"deploy", "toolkit"},
    "indexes": {"indexes", "toolkit"},
    "cli": {"cli", "deploy", "indexes", "toolkit"},
}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_reaches_up_or_across(package: str) -> None:
    modules = [module for module in MODULES if module.relative_to(ROOT).parts[0] == package]
    assert modules
    for module in modules:
        assert imported(module) & set(PACKAGES) <= MAY_IMPORT[package], module


def test_no_module_is_over_400_lines() -> None:
    tests = sorted((ROOT / "tests").rglob("*.py"))
    long = {str(path): lines for path in MODULES if (lines := count_lines(path)) > 400}
    assert long == {}
    assert {str(path) for path in tests if count_lines(path) > 500} == set()


def count_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(module: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(module.read_bytes())
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_functions_are_short() -> None:
    # A command's signature is its list of flags: there only the body counts.
    sizes = {
        f"{module.relative_to(ROOT)}:{function.name}": body_lines(function)
        for module in MODULES
        for function in functions(module)
    }
    assert {name: size for name, size in sizes.items() if size > 60} == {}
    assert sorted(sizes.values())[len(sizes) // 2] < 12


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or 0) - function.body[0].lineno + 1


def test_functions_outside_the_commands_have_few_parameters() -> None:
    many = {
        f"{module.relative_to(ROOT)}:{function.name}": count
        for module in MODULES
        if "commands" not in module.parts
        for function in functions(module)
        if (count := parameters(function)) > 6
    }
    assert many == {}


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [a.arg for a in (*function.args.args, *function.args.kwonlyargs)]
    return len([name for name in names if name not in {"self", "cls"}])


def test_every_command_has_json() -> None:
    import typer

    from cli.app import app

    def leaves(command: object, path: str) -> dict[str, object]:
        children = getattr(command, "commands", None)
        if children is None:
            return {path: command}
        return {k: v for n, c in children.items() for k, v in leaves(c, f"{path} {n}").items()}

    commands = leaves(typer.main.get_command(app), "vr")
    assert "vr search" in commands
    for path, command in commands.items():
        flags = [flag for parameter in command.params for flag in parameter.opts]  # type: ignore[attr-defined]
        assert "--json" in flags, path
        assert command.help, path  # type: ignore[attr-defined]


def test_only_the_output_module_prints() -> None:
    printing = [
        str(module.relative_to(ROOT))
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_bytes()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert printing == []
