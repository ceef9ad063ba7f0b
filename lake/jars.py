"""The jars Spark needs for Delta and S3, pinned by checksum, in a folder of ours. `python -m lake.jars` fetches them.

Resolved once with the Ivy that ships inside pyspark (no Maven needed); nothing is resolved when a session starts.
15 MB of AWS modules stand in for the 686 MB bundle. The one class of ours, the conditional log store for s3a, is
compiled here with `javac`.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import quoteattr

from lake.errors import BitacoraError, Misconfigured

REPOSITORY = Path(__file__).resolve().parent.parent
JAR_FOLDER = REPOSITORY / ".tools" / "jars"
SOURCES = Path(__file__).resolve().parent / "java"
LOG_STORE = "bitacora-logstore.jar"


def _pinned() -> tuple[tuple[str, str, str, str], ...]:
    lines = Path(__file__).with_name("jars.txt").read_text().splitlines()
    pairs = (line.split(" ") for line in lines if not line.startswith("#"))
    return tuple((*name.split(":"), digest) for name, digest in pairs)  # type: ignore[misc]  # three names and a digest


JARS = _pinned()
"""Organisation, module, revision and SHA-256, as pinned in jars.txt."""


def _file_name(module: str, revision: str) -> str:
    return f"{module}-{revision}.jar"


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def problems(folder: Path = JAR_FOLDER) -> list[str]:
    """What is missing or altered in the folder, one line each; empty when all is well."""
    found = []
    for _, module, revision, expected in JARS:
        path = folder / _file_name(module, revision)
        if not path.is_file():
            found.append(f"{path.name} is missing")
        elif (digest := _digest(path)) != expected:
            found.append(f"{path.name}: expected SHA-256 {expected}, found {digest}")
    if list(SOURCES.glob("*.java")) and not (folder / LOG_STORE).is_file():
        found.append(f"{LOG_STORE} is missing")
    return found


def jar_paths(folder: Path = JAR_FOLDER) -> list[Path]:
    """Every jar for Spark's class path.

    Raises:
        Misconfigured: one is missing; checksums are the business of `problems`, at set-up and in `doctor`.
    """
    paths = [folder / _file_name(module, revision) for _, module, revision, _ in JARS]
    if (folder / LOG_STORE).is_file():
        paths.append(folder / LOG_STORE)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise Misconfigured(f"jars missing in {folder}: {', '.join(missing)}. Run `make setup`.")
    return paths


def java(program: str) -> str:
    """Path of `java`, `javac` or `jar`.

    Raises:
        Misconfigured: there is none on PATH or under JAVA_HOME.
    """
    found = shutil.which(program)
    if found is None:
        raise Misconfigured(
            f"`{program}` not found: Spark needs a JDK 17. Install it and put its bin folder on PATH "
            "(Debian: apt-get install openjdk-17-jdk-headless)."
        )
    return found


def _pyspark_jars() -> Path:
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise Misconfigured("pyspark is not installed: run `make setup`.")
    return Path(spec.origin).parent / "jars"


def fetch(folder: Path = JAR_FOLDER) -> None:
    """Resolve the list into the folder and verify it; does nothing where all is in place.

    Raises:
        Misconfigured: no Java, the resolver failed, or a checksum does not match.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(LOG_STORE not in problem for problem in problems(folder)):
        _resolve(folder)
    _compile_log_store(folder)
    left = problems(folder)
    if left:
        raise Misconfigured("jars do not match the pinned list: " + "; ".join(left))


def _resolve(folder: Path) -> None:
    wanted = "".join(
        f"<dependency org={quoteattr(org)} name={quoteattr(name)} rev={quoteattr(revision)} transitive='false'/>"
        for org, name, revision, _ in JARS
    )
    ivy_jar = next(_pyspark_jars().glob("ivy-*.jar"))
    with tempfile.TemporaryDirectory() as scratch:
        description = Path(scratch, "ivy.xml")
        description.write_text(
            "<ivy-module version='2.0'><info organisation='bitacora' module='jars'/>"
            "<configurations><conf name='default'/></configurations>"
            f"<dependencies defaultconf='default->default'>{wanted}</dependencies></ivy-module>"
        )
        pattern = f"{folder}/[artifact]-[revision].[ext]"
        command = [java("java"), "-jar", str(ivy_jar), "-ivy", str(description), "-retrieve", pattern]
        command += ["-types", "jar", "-cache", str(Path(scratch, "cache"))]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Misconfigured("the jars could not be fetched:\n" + "\n".join(result.stdout.splitlines()[-15:]))


def _compile_log_store(folder: Path) -> None:
    sources = sorted(SOURCES.glob("*.java"))
    target = folder / LOG_STORE
    if not sources or (target.is_file() and target.stat().st_mtime >= max(s.stat().st_mtime for s in sources)):
        return
    class_path = f"{_pyspark_jars()}/*:{folder}/*"
    with tempfile.TemporaryDirectory() as scratch:
        compile_ = [java("javac"), "--release", "17", "-cp", class_path, "-d", scratch, *map(str, sources)]
        for command in (compile_, [java("jar"), "--create", "--file", str(target), "-C", scratch, "."]):
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                raise Misconfigured(f"{command[0]} failed:\n{result.stderr}")


def main() -> int:
    try:
        fetch()
    except BitacoraError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{len(jar_paths())} jars in {JAR_FOLDER.relative_to(REPOSITORY)}, checksums as pinned")
    return 0


if __name__ == "__main__":
    sys.exit(main())
