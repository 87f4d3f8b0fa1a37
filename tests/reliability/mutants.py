"""Damaged files of every kind that is read: each ends well or in sentences, in little memory and time."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import struct
import time
import traceback
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.reliability import cases, server
from tests.reliability.cases import READERS, Reader
from tests.reliability.server import Server
from tests.reliability.tally import Tally, fingerprint

MEMORY = 4 * 2**30
SECONDS = 10
PATIENCE = 120
"""Seconds by the clock, on machines that do other things as well; `SECONDS` are of processor time."""

Rng = random.Random
_NUMBERS = [0, 1, 2, 127, 128, 255, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
_TOKENS = [
    b"0", b"-1", b"1e308", b"1e999", b"nan", b".inf", b"-.inf", b"9" * 400, b"1.5", b"0x10", b"null",
    b"true", b"~",
    b"2020-01-01", b"2020-99-99", b"!!python/object:os.system", b"!tag x", b"&a [*a]", b"../../..",
    b"../../../../victim", b"\0",
    b"\xff\xfe", b"\xef\xbb\xbf", b"a" * 5000, b"\n", b"\r\n", b",", b";", b"\t",
    b'"', b"'", b": ", b"[" * 3000, b"{", b"\xe2\x80\xae",
]  # fmt: skip
VICTIM = "<a folder of somebody else>"
"""Stands for a path outside the trial's own folder, until the trial is made."""
_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, 2**64, 10**400, 0.5, -0.5, 1e308, float("inf"),
    float("nan"), "", "a", "1",
    "9" * 400, "../../..", VICTIM, "../../../../victim", "\0", "a\nb", "\ud800", "x" * 70000, [], {},
    [None], [[]], [1, 2], ["a"], {"a": 1},
    [0] * 3000, "2020-01-01", "2020-99-99T99:99:99", "foreground", "NaN",
]  # fmt: skip


# How files are damaged.


def damage(data: bytes, name: str, rng: Rng) -> bytes:
    """Return the bytes of a file after something has happened to them."""
    ways: list[Callable[[bytes, Rng], bytes]] = [_flip, _cut, _number, _noise, _drop, _double]
    suffix = Path(name).suffix.lower()
    if name.endswith("gz"):
        ways = [*ways, _inside_gzip] * 1 + [_inside_gzip] * 6
    elif suffix in (".json", ".geojson", ".jsonl") or Path(name).name in (".zattrs", ".zarray", ".zgroup"):
        ways += [_json] * 12 + [_token] * 3
    elif suffix in (".csv", ".yaml", ".txt"):
        ways += [_token] * 12 + [_encode] * 2
    elif suffix == ".safetensors":
        ways += [_header] * 14
    elif suffix in (".tif", ".svs"):
        ways += [_tag] * 12
    elif suffix == ".png":
        ways += [_chunk] * 8
    elif suffix == ".sqlite":
        ways = [_flip, _number, _noise, _cut] + [_page] * 2
    times = 1 if rng.random() < 0.7 else rng.randint(2, 4)
    for _ in range(times):
        data = rng.choice(ways)(data, rng)
    return data


def _at(data: bytes, rng: Rng) -> int:
    """Return a place in the data, often one near its beginning."""
    return rng.randrange(max(1, min(len(data), 300) if rng.random() < 0.5 else len(data)))


def _put(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _flip(data: bytes, rng: Rng) -> bytes:
    found = bytearray(data or b"\0")
    for _ in range(rng.choice([1, 1, 2, 8])):
        found[_at(found, rng)] ^= 1 << rng.randrange(8)
    return bytes(found)


def _cut(data: bytes, rng: Rng) -> bytes:
    return data[: rng.choice([0, 1, rng.randrange(len(data) + 1), max(0, len(data) - 1)])]


def _number(data: bytes, rng: Rng) -> bytes:
    form = rng.choice(["<B", "<H", ">H", "<I", ">I", "<Q", ">Q"])
    value = rng.choice(_NUMBERS) & (2 ** (8 * struct.calcsize(form)) - 1)
    return _put(data, _at(data, rng), struct.pack(form, value))


def _noise(data: bytes, rng: Rng) -> bytes:
    return _put(data, _at(data, rng), rng.randbytes(rng.choice([1, 4, 16, 200])))


def _drop(data: bytes, rng: Rng) -> bytes:
    at = _at(data, rng)
    return data[:at] + data[at + rng.choice([1, 3, 17, 500]) :]


def _double(data: bytes, rng: Rng) -> bytes:
    at = _at(data, rng)
    return data[: at + rng.choice([1, 9, 200])] + data[at:]


def _token(data: bytes, rng: Rng) -> bytes:
    """Replace a word or number of a text, or put something in."""
    words = list(re.finditer(rb"[-+.\w/]+", data))
    token = rng.choice(_TOKENS)
    if not words or rng.random() < 0.2:
        at = rng.randrange(len(data) + 1)
        return data[:at] + token + data[at:]
    word = rng.choice(words)
    return data[: word.start()] + token + data[word.end() :]


def _encode(data: bytes, rng: Rng) -> bytes:
    text = data.decode("utf-8", "replace")
    return rng.choice([
        text.encode("utf-16"), text.encode("utf-16-be"), b"\xef\xbb\xbf" + data, text.replace("\n",
        "\r").encode(),
        text.replace("a", "ä").encode("latin-1", "replace"), data.replace(b",", b";"), data * 2, b"",
    ])  # fmt: skip


def _json(data: bytes, rng: Rng) -> bytes:
    """Replace, remove or add a value somewhere in a JSON text."""
    try:
        root = json.loads(data)
    except (ValueError, RecursionError):
        return _token(data, rng)
    holders: list[Any] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict | list) and value:
            holders.append(value)
            for each in value.values() if isinstance(value, dict) else value:
                walk(each)

    with suppress(RecursionError):
        walk(root)
    if not holders or rng.random() < 0.03:
        return rng.choice(
            [b"[" * 100_000, b"null", b"[]", b"{}", b'""', b"7", b'{"a":' * 50_000, b"\xef\xbb\xbf" + data]
        )
    holder = rng.choice(holders)
    key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    what = rng.random()
    if what < 0.7:
        holder[key] = rng.choice(_VALUES)
    elif what < 0.85:
        del holder[key]
    elif isinstance(holder, dict):
        holder[rng.choice(["", "a", "type", f"{key} "])] = holder.pop(key)
    else:
        holder *= 2
    if not isinstance(holder, dict) and rng.random() < 0.1:
        holder.append(holder[0] if holder else None)
    return _dumped(root)


def _dumped(root: Any) -> bytes:
    import sys

    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(root).encode("utf-8", "surrogatepass")
    finally:
        sys.set_int_max_str_digits(limit)


def _inside_gzip(data: bytes, rng: Rng) -> bytes:
    try:
        return gzip.compress(_json(gzip.decompress(data), rng))
    except (OSError, EOFError, zlib.error):
        return _flip(data, rng)


def _header(data: bytes, rng: Rng) -> bytes:
    """Change what a safetensors file says of its tensors and of itself; the length is kept true."""
    try:
        size = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + size])
        own = header["__metadata__"]
        key = rng.choice(list(own))
        if rng.random() < 0.6:
            own[key] = _json(own[key].encode(), rng).decode("utf-8", "surrogatepass")
            new = _dumped(header)
        else:
            new = _json(data[8 : 8 + size], rng)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _flip(data, rng)
    new += b" " * (-len(new) % 8)
    return struct.pack("<Q", len(new)) + new + data[8 + size :]


def _tag(data: bytes, rng: Rng) -> bytes:
    """Change the kind, number or value of an entry of a classic TIFF's directories."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    entries = []
    try:
        assert order is not None
        at = struct.unpack(f"{order}I", data[4:8])[0]
        while at and len(entries) < 500:
            (count,) = struct.unpack(f"{order}H", data[at : at + 2])
            entries += [at + 2 + 12 * index for index in range(count)]
            (at,) = struct.unpack(f"{order}I", data[at + 2 + 12 * count : at + 6 + 12 * count])
        entry = rng.choice(entries)
    except (AssertionError, struct.error, IndexError):
        return _number(data, rng)
    where, form = rng.choice([(0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H"), (8, "I"), (8, "H")])
    value = rng.choice([*_NUMBERS, 3, 4, 5, 8, 12, 16, 64, 259, 257, 330, len(data)])
    return _put(
        data, entry + where, struct.pack(f"{order}{form}", value & (0xFFFF if form == "H" else 0xFFFFFFFF))
    )


def _chunk(data: bytes, rng: Rng) -> bytes:
    """Change bytes within a chunk of a PNG, with a true checksum."""
    places, at = [], 8
    while at + 12 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        places.append((at, size))
        at += 12 + size
    places = [place for place in places if place[1] and place[0] + 12 + place[1] <= len(data)]
    if not places:
        return _flip(data, rng)
    at, size = rng.choice(places)
    body = data[at + 8 : at + 8 + size]
    if data[at + 4 : at + 8] == b"IDAT" and rng.random() < 0.6:
        with suppress(zlib.error):
            body = zlib.compress(_flip(zlib.decompress(body), rng))
    else:
        body = _number(body, rng)[:size] if rng.random() < 0.7 else _noise(body, rng)[:size]
    chunk = data[at + 4 : at + 8] + body
    return (
        data[:at]
        + struct.pack(">I", len(body))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + data[at + 12 + size :]
    )


def _page(data: bytes, rng: Rng) -> bytes:
    """Change a few bytes of a database's first page or of another page's head."""
    page = 0 if rng.random() < 0.6 else rng.randrange(max(1, len(data) // 4096))
    return _put(data, min(len(data), page * 4096 + rng.randrange(120)), rng.randbytes(rng.choice([1, 2, 4])))


def _victim(path: Path) -> str:
    """Return the folder beside the trial's own that nothing may touch."""
    case = next(parent for parent in (path, *path.parents) if parent.name == "case")
    return str(case.with_name("victim"))


def damage_rows(path: Path, rng: Rng) -> None:
    """Give a field of a database a value that it should not have."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA foreign_keys = OFF")
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = rng.choice([name for name in tables if not name.startswith("sqlite_")])
        column = rng.choice([row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')])
        value = rng.choice([
            None, 0, -1, 2**62, 0.5, float("inf"), 1e308, "", "a", "../../../../victim", _victim(path),
            "a\nb", "\0", "NaN", b"", b"\x00\xff",
            "2020-99-99", "x" * 5000, '{"a": 1}', "[" * 5000, "{}", "null", "\u202e", b"\x80abc", -(2**62),
        ])  # fmt: skip
        some = "" if rng.random() < 0.5 else f' WHERE rowid = (SELECT max(rowid) FROM "{table}")'
        if rng.random() < 0.1:
            connection.execute(f'DELETE FROM "{table}"{some}')
        elif rng.random() < 0.1:
            connection.execute(f'UPDATE "{table}" SET "{column}" = CAST(x\'fffe80\' AS TEXT){some}')
        else:
            connection.execute(f'UPDATE "{table}" SET "{column}" = ?{some}', (value,))
        connection.commit()
    except sqlite3.Error:
        connection.rollback()
    finally:
        connection.close()


# One mutant.


def make_mutants(reader: Reader, templates: Path, work: Path, rng: Rng) -> tuple[int, list[str]]:
    """Copy a template and damage files of it; return how many, and the command that is to read them."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(templates / reader.template, work)
    found = [work / path for path in cases.files_of(work, reader.targets)]
    targets = found if reader.all else [rng.choice(found)]
    for target in targets:
        if target.suffix == ".sqlite" and rng.random() < 0.6:
            for _ in range(rng.choice([1, 1, 2])):
                damage_rows(target, rng)
            continue
        data = target.read_bytes()
        new = damage(data, target.name, rng).replace(VICTIM.encode(), _victim(work).encode())
        target.write_bytes(new if new != data else _flip(data, rng))
    chosen = rng.choice(reader.commands)
    words = {"file": str(targets[0]), "model": str(templates / "tiny.safetensors")}
    return len(targets), [part.format(str(work), **words) for part in chosen]


def read_mutant(arguments: list[str]) -> int:
    """Run a command, or a function of `cases` whose known errors are sentences too."""
    if not arguments[0].startswith(":"):
        return server.command(*arguments)
    from pixelcam.errors import PixelCAMError

    try:
        getattr(cases, arguments[0][1:])(*arguments[1:])
    except PixelCAMError:
        return 1
    except Exception as error:
        server.foreign_errors.append(error)
        return 1
    return 0


def work(templates: str, place: str, seeds: list[int], log: str) -> None:
    """Read a row of mutants in this process, each noted in `log` before and after it.

    One that takes too long ends the process: the log tells which.
    """
    server.limit_memory(MEMORY)
    os.environ["PIXELCAM_HOME"] = f"{place}/home"
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    out = Path(place) / "out"
    out.mkdir(parents=True, exist_ok=True)
    os.chdir(out)
    with Path(log).open("a", buffering=1) as file:
        for seed in seeds:
            rng = random.Random(seed)
            reader = rng.choices(READERS, [reader.weight for reader in READERS])[0]
            number, arguments = make_mutants(reader, Path(templates), Path(place) / "case", rng)
            shutil.rmtree(Path(place) / "home", ignore_errors=True)
            file.write(
                json.dumps({"seed": seed, "family": reader.family, "mutants": number, "command": arguments})
                + "\n"
            )
            victim = Path(_victim(Path(place) / "case"))
            victim.mkdir(exist_ok=True)
            (victim / "thesis.txt").write_text("the only copy")
            found = _outcome(seed, arguments, out)
            if [path.read_text() for path in victim.glob("*")] != ["the only copy"]:
                found["broken"] = "a folder outside was changed"
                shutil.rmtree(victim, ignore_errors=True)
            file.write(json.dumps(found) + "\n")


def _outcome(seed: int, arguments: list[str], out: Path) -> dict[str, Any]:
    """Read one mutant, and say how that ended."""
    server.foreign_errors.clear()
    printed = [os.dup(1), os.dup(2)]
    for number in (1, 2):
        file = os.open(out / f"{number}.txt", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    began = time.process_time()
    try:
        code = read_mutant(arguments)
    except BaseException as error:
        server.foreign_errors.append(error)
        code = -1
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, before in zip((1, 2), printed, strict=True):
            os.dup2(before, number)
            os.close(before)
    said = (out / "2.txt").read_text(errors="replace")
    told = (out / "1.txt").read_text(errors="replace")
    found = {
        "seed": seed,
        "code": code,
        "seconds": round(time.process_time() - began, 2),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "said": said[-400:],
    }
    full = [error for error in server.foreign_errors if _is_full(error)]
    if full or "ran out of memory" in said:
        found["full"] = fingerprint(full[0]) if full else "said so"
    foreign = [error for error in server.foreign_errors if not _is_full(error)]
    if foreign:
        found["raw"] = [fingerprint(error) for error in foreign]
        found["tracebacks"] = ["".join(traceback.format_exception(error))[-6000:] for error in foreign]
    elif (
        "Traceback" in said + told
        or (code not in (0, 1, 2))
        or (code == 1 and arguments[0][0] != ":" and not said.strip())
    ):
        found["raw"] = [f"exit {code}: {said.strip()[-200:]}"]
        found["tracebacks"] = [said]
    return found


def _is_full(error: BaseException) -> bool:
    from pixelcam.errors import full_memory

    return full_memory(error) == "computer"


def run(trials: Server, templates: Path, seeds: list[int], place: Path) -> Tally:
    """Read mutants in children of the server, one after the other."""
    place.mkdir(parents=True, exist_ok=True)
    log = place / "log.jsonl"
    log.unlink(missing_ok=True)
    tally, left = Tally(), list(seeds)
    while left:
        call = "tests.reliability.mutants:work"
        arguments = {"templates": str(templates), "place": str(place), "seeds": left, "log": str(log)}
        ended = trials.run(call, 1e5, **arguments)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        done = {line["seed"]: line for line in lines if "code" in line}
        begun = {line["seed"]: line for line in lines if "command" in line}
        peak = 0
        for seed in left:
            if seed in done:
                _count(tally, begun[seed], done[seed], peak)
                peak = done[seed]["peak"]
            elif seed in begun:
                _count_death(tally, begun[seed], ended.code, ended.err)
        rest = [seed for seed in left if seed not in begun]
        if len(rest) == len(left):
            raise RuntimeError(f"The trials do not begin: {ended.err}")
        left = rest
        log.unlink()
    shutil.rmtree(place, ignore_errors=True)
    return tally


def _count(tally: Tally, begun: dict[str, Any], done: dict[str, Any], peak: int) -> None:
    tally.add("mutants", begun["mutants"])
    tally.add(f"mutants of {begun['family']}", begun["mutants"])
    tally.add(f"exit {done['code']}")
    tally.add(f"seconds of {begun['family']}", done["seconds"])
    for what, told in zip(done.pop("raw", []), done.pop("tracebacks", []), strict=True):
        tally.find("raw", what, {**begun, "code": done["code"], "said": done["said"], "traceback": told})
    example = {**begun, **done}
    if "broken" in done:
        tally.find("broken", f"{done['broken']}: {' '.join(begun['command'][:2])}", example)
    if "full" in done or (done["peak"] > MEMORY >= peak):
        tally.find("memory", done.get("full", str(begun["command"][:2])), example)


def _count_death(tally: Tally, begun: dict[str, Any], code: int, said: str) -> None:
    tally.add("mutants", begun["mutants"])
    tally.add(f"mutants of {begun['family']}", begun["mutants"])
    command = " ".join(begun["command"][:2]).replace(str(begun["command"][-1]), "")
    if -code in (signal.SIGPROF, signal.SIGALRM):
        tally.find("hang", f"{command} {begun['family']}", begun)
    elif "bad_alloc" in said or "ould not allocate" in said:
        tally.find("memory", f"{command} {begun['family']}", begun)
    else:
        tally.find(
            "raw", f"died by {code}: {command} {begun['family']}", {**begun, "traceback": said[-3000:]}
        )
