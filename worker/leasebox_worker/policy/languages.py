"""How is a program of each language built and run? Data, not code; what an image or host has of it is probed there.

| placeholder | stands for |
|---|---|
| `{file}` | the source file |
| `{stem}` | its name without folder and ending |
| `{out}` | the folder for what a build makes: empty before it, gone after the job |

A language may have several tools; the first that are there are taken. To add a language, add a row here, its name to
`contract.spec.LANGUAGES`, its endings to `leasebox.cli.request`, and a program to tests/languages.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType

OUT = ".leasebox-build"
_PLACEHOLDER = re.compile(r"\{(file|stem|out)\}")
_VERSION = re.compile(r"\d+(?:\.\d+)+")
# /tmp cannot be executed from and goes before the program runs, so what is built stands in the workspace.
_EMPTY_OUT = ("sh", "-c", 'rm -rf -- "$0" && mkdir -- "$0" && exec "$@"', "{out}")


@dataclass(frozen=True, slots=True)
class Tools:
    """One way to build and run a language.

    Attributes:
        version: Prints the version of the language, and succeeds only if the tools can do what they are here for.
        run: The program's command line, less its arguments.
        build: Run before it, in the workspace; empty: there is nothing to build.
        programs: Must be on PATH too.
        build_env: Environment of the build.
    """

    version: tuple[str, ...]
    run: tuple[str, ...]
    build: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    build_env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Language:
    """A language.

    Attributes:
        file: Name of the file that `code` is written to.
        tools: The preferred ones first.
        stem: Where the file must be called like something in the code: that is the first group of the first pattern
            which is found.
    """

    file: str
    tools: tuple[Tools, ...]
    stem: tuple[re.Pattern[str], ...] = ()


_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
_JAVA_TYPE = r"(?:class|interface|enum|record)\s+(\w+)"
_ESM_REQUIRE = 'import{createRequire}from"node:module";const require=createRequire(import.meta.url);'

LANGUAGES: Mapping[str, Language] = {
    # The agent runs Python itself, forked from its own interpreter where that makes no difference.
    "python": Language("main.py", (Tools(("python3", "--version"), ("python3", "{file}")),)),
    # Hidden, because programs in bash go through the files of their folder by pattern.
    "bash": Language(".main.sh", (Tools(("bash", "--version"), ("bash", "{file}")),)),
    "javascript": Language("main.js", (Tools(("node", "--version"), ("node", "{file}")),)),
    "typescript": Language(
        "main.ts",
        (
            Tools(
                ("node", "--version"),
                ("node", "--enable-source-maps", "{out}/main.mjs"),
                (
                    "esbuild", "{file}", "--bundle", "--platform=node", "--format=esm", "--packages=external",
                    "--sourcemap", "--log-level=warning", f"--banner:js={_ESM_REQUIRE}", "--outfile={out}/main.mjs",
                ),
                ("esbuild",),
            ),
            Tools(
                ("tsc", "--noCheck", "--version"),  # refused by one before 5.5; checked, no program knows `process`
                ("node", "{out}/{stem}.js"),
                ("tsc", "--noCheck", "--outDir", "{out}", "--target", "es2022", "--module", "commonjs", "{file}"),
                ("node",),
            ),
            Tools(
                ("node", "--experimental-strip-types", "--version"),  # refused by a Node that cannot
                ("node", "--experimental-strip-types", "--disable-warning=ExperimentalWarning", "{file}"),
            ),
        ),
    ),
    "go": Language(
        "main.go",
        (
            Tools(
                ("go", "version"),
                ("{out}/main",),
                ("go", "build", "-o", "{out}/main", "{file}"),
                build_env={"GOCACHE": "{out}/cache", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"},
            ),
        ),
    ),
    "rust": Language(
        "main.rs",
        (
            Tools(
                ("rustc", "--version"),
                ("{out}/main",),
                ("rustc", "--edition", "2021", "-O", "-o", "{out}/main", "{file}"),
                ("cc",),
            ),
        ),
    ),
    "java": Language(
        "Main.java",
        (
            Tools(
                ("java", "-version"),
                ("java", *_JVM, "-XX:MaxRAMPercentage=50", "-cp", "{out}", "{stem}"),
                ("javac", *(f"-J{word}" for word in _JVM), "-encoding", "UTF-8", "-d", "{out}", "{file}"),
                ("javac",),
            ),
        ),
        (re.compile(rf"^\s*public\s+(?:\w+\s+)*{_JAVA_TYPE}", re.M), re.compile(rf"^\s*(?:\w+\s+)*{_JAVA_TYPE}", re.M)),
    ),
    "c": Language(
        "main.c",
        (Tools(("gcc", "-dumpfullversion"), ("{out}/main",), ("gcc", "-O2", "-o", "{out}/main", "{file}", "-lm")),),
    ),
    "cpp": Language(
        "main.cpp", (Tools(("g++", "-dumpfullversion"), ("{out}/main",), ("g++", "-O2", "-o", "{out}/main", "{file}")),)
    ),
    "ruby": Language("main.rb", (Tools(("ruby", "--version"), ("ruby", "{file}")),)),
    # Without these an uncaught error is printed twice, once of them to stdout.
    "php": Language(
        "main.php",
        (Tools(("php", "--version"), ("php", "-d", "display_errors=stderr", "-d", "log_errors=0", "{file}")),),
    ),
    "perl": Language("main.pl", (Tools(("perl", "-e", 'printf "%vd", $^V'), ("perl", "{file}")),)),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """What an image or host has of a language."""

    tools: Tools
    version: str


Toolbox = Mapping[str, Found]
"""By language."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program of a language, and the tools for it.

    Attributes:
        source: Its file, relative to the workspace.
        is_written: The job brings `code`, which is written there; else the file is one of the workspace.
        version: None if nobody has looked.
    """

    tools: Tools
    source: str
    is_written: bool
    version: str | None

    @property
    def is_built(self) -> bool:
        """Whether there is a step before it runs."""
        return bool(self.tools.build)

    def build(self, workspace: str) -> tuple[str, ...]:
        """The command of the build step, to be run in the workspace."""
        return self._filled((*_EMPTY_OUT, *self.tools.build), workspace, self.source)

    def build_env(self, workspace: str) -> dict[str, str]:
        """What the build has in its environment beside the job's own."""
        filled = self._filled(tuple(self.tools.build_env.values()), workspace, self.source)
        return dict(zip(self.tools.build_env, filled, strict=True))

    def run(self, workspace: str, cwd: str) -> tuple[str, ...]:
        """The command line that runs it in a folder, relative to the workspace."""
        # Where the agent writes the file it also knows how it is called from there, and under which name it really is.
        file = self.source if self.is_written or cwd == "." else f"{workspace}/{self.source}"
        return self._filled(self.tools.run, workspace, file)

    def _filled(self, words: tuple[str, ...], workspace: str, file: str) -> tuple[str, ...]:
        values = {"file": file, "stem": PurePosixPath(self.source).stem, "out": f"{workspace}/{OUT}"}
        return tuple(_PLACEHOLDER.sub(lambda found: values[found[1]], word) for word in words)


def program_of(language: str, code: str | None, entry: str | None, toolbox: Toolbox | None) -> Program:
    """The program that a job brings, as code or as a file of the workspace.

    Args:
        toolbox: None if nobody has looked; the preferred tools are taken then.
    """
    described = LANGUAGES[language]
    found = toolbox.get(language) if toolbox is not None else None
    tools = found.tools if found else described.tools[0]
    return Program(tools, entry or _file_for(described, code or ""), entry is None, found.version if found else None)


def _file_for(language: Language, code: str) -> str:
    name = PurePosixPath(language.file)
    for pattern in language.stem:
        if named := pattern.search(code):
            return f"{named[1]}{name.suffix}"
    return language.file


def offered(allowed: Sequence[str], toolbox: Toolbox | None) -> tuple[str, ...]:
    """The languages that are allowed and there; Python always is, because the agent runs in it."""
    if toolbox is None:
        return tuple(allowed)
    return tuple(name for name in allowed if name in toolbox or name == "python")


def questions() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """What to ask a sandbox: by `language/n`, for its n-th tools, the programs that must be there and the version's."""
    asked = {}
    for name, language in LANGUAGES.items():
        for number, tools in enumerate(language.tools):
            built = [tools.build[0]] if tools.build else []
            asked[f"{name}/{number}"] = ((*tools.programs, *built), tools.version)
    return asked


def toolbox_of(said: Mapping[str, str]) -> Toolbox:
    """What the answers mean: the first tools of each language whose version could be read."""
    found: dict[str, Found] = {}
    for name, language in LANGUAGES.items():
        for number, tools in enumerate(language.tools):
            version = _VERSION.search(said.get(f"{name}/{number}", ""))
            if version and name not in found:
                found[name] = Found(tools, version[0])
    return found
