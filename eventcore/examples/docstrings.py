"""A labelled data set that every Python has: what its standard library says of itself.

Each text is the first sentence of a docstring; its label says what kind of module it stands in. The names were
chosen so that 3.11, 3.12 and 3.13 say the same, so a figure measured on one holds for the others. Nothing is
read but docstrings, nothing is downloaded, and no text is copied into this package.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re

import msgspec

from eventcore.errors import Unavailable

NAMES: dict[str, dict[str, str]] = {
    "text": {
        "builtins": (
            "str.casefold str.isalnum str.isascii str.isdecimal str.isidentifier str.isnumeric "
            "str.isprintable str.isspace str.istitle str.isupper str.join str.lstrip str.removeprefix "
            "str.removesuffix str.rstrip str.title str.translate str.upper"
        ),
        "codecs": (
            "Codec EncodedFile IncrementalDecoder IncrementalEncoder IncrementalEncoder.getstate "
            "IncrementalEncoder.reset StreamReader.read StreamWriter.write encode getencoder "
            "getincrementaldecoder getreader lookup open register register_error strict_errors "
            "xmlcharrefreplace_errors"
        ),
        "difflib": (
            "Differ HtmlDiff HtmlDiff.make_table SequenceMatcher.get_grouped_opcodes "
            "SequenceMatcher.get_matching_blocks SequenceMatcher.get_opcodes SequenceMatcher.set_seq1 "
            "SequenceMatcher.set_seq2 SequenceMatcher.set_seqs get_close_matches restore unified_diff"
        ),
        "html.parser": "HTMLParser HTMLParser.get_starttag_text",
        "re": (
            "Match.groupdict Match.groups Match.start Pattern.findall Pattern.finditer Pattern.fullmatch "
            "Pattern.groupindex Pattern.search Pattern.split Pattern.sub compile error findall fullmatch "
            "match purge search split"
        ),
        "shlex": "join quote shlex shlex.error_leader shlex.push_source shlex.sourcehook split",
        "textwrap": "dedent fill indent shorten wrap",
    },
    "numbers": {
        "builtins": "float.is_integer int.bit_length int.to_bytes",
        "cmath": "asin asinh atan atanh cos cosh exp isfinite isinf log10 polar rect sin sinh tan tanh",
        "decimal": (
            "Context.clear_traps Context.compare_total_mag Context.create_decimal_from_float Context.divmod "
            "Context.fma Context.is_infinite Context.is_nan Context.is_normal Context.max Context.min "
            "Context.minus Context.sqrt Context.subtract Context.to_sci_string Decimal.adjusted "
            "Decimal.copy_abs Decimal.is_finite Decimal.rotate"
        ),
        "fractions": "Fraction Fraction.limit_denominator",
        "math": (
            "acosh asinh atanh ceil cosh degrees dist erfc fabs floor isfinite lgamma modf prod remainder "
            "sqrt trunc ulp"
        ),
        "random": (
            "Random Random.choice Random.choices Random.paretovariate Random.randint Random.sample "
            "Random.seed Random.shuffle Random.uniform SystemRandom.random"
        ),
        "statistics": (
            "NormalDist NormalDist.mean NormalDist.median NormalDist.quantiles NormalDist.samples "
            "NormalDist.stdev fmean geometric_mean median_grouped median_low mode multimode quantiles"
        ),
    },
    "network": {
        "ftplib": "FTP.dir FTP.makeport FTP.ntransfercmd FTP.sendcmd FTP.size FTP_TLS FTP_TLS.auth",
        "http.client": (
            "HTTPConnection.close HTTPConnection.connect HTTPResponse.getcode HTTPResponse.geturl "
            "HTTPResponse.info HTTPResponse.isclosed HTTPResponse.read HTTPSConnection"
        ),
        "http.server": (
            "BaseHTTPRequestHandler BaseHTTPRequestHandler.send_header BaseHTTPRequestHandler.send_response "
            "BaseHTTPRequestHandler.send_response_only BaseHTTPRequestHandler.version_string "
            "CGIHTTPRequestHandler.is_cgi CGIHTTPRequestHandler.is_python CGIHTTPRequestHandler.send_head "
            "SimpleHTTPRequestHandler.copyfile SimpleHTTPRequestHandler.guess_type "
            "SimpleHTTPRequestHandler.send_head"
        ),
        "imaplib": (
            "IMAP4.append IMAP4.getquota IMAP4.getquotaroot IMAP4.lsub IMAP4.recent IMAP4.response "
            "IMAP4.search IMAP4.socket Int2AP Internaldate2tuple ParseFlags"
        ),
        "ipaddress": (
            "IPv4Address IPv6Address.scope_id IPv6Address.sixtofour IPv6Address.teredo IPv6Network.hosts "
            "summarize_address_range"
        ),
        "poplib": "POP3 POP3.top POP3_SSL.stls",
        "smtplib": "SMTP SMTP.close SMTP.connect SMTP.rset SMTPDataError SMTPException",
        "socket": "create_connection socket.family socket.type",
        "socketserver": (
            "BaseRequestHandler BaseServer.handle_request ForkingMixIn ForkingMixIn.handle_timeout "
            "ThreadingMixIn.process_request_thread"
        ),
        "ssl": (
            "DER_cert_to_PEM_cert MemoryBIO.eof MemoryBIO.pending MemoryBIO.write PEM_cert_to_DER_cert "
            "Purpose SSLError SSLSession.has_ticket SSLSocket.write SSLWantWriteError create_default_context"
        ),
        "urllib.request": (
            "FancyURLopener.http_error_default HTTPDigestAuthHandler HTTPPasswordMgr.is_suburi "
            "HTTPPasswordMgr.reduce_uri URLopener.open_file pathname2url url2pathname"
        ),
        "xmlrpc.client": "DateTime Fault",
    },
    "files": {
        "bz2": "BZ2Compressor BZ2File.writelines open",
        "filecmp": "dircmp",
        "glob": "iglob",
        "gzip": "GzipFile.mtime compress decompress",
        "io": (
            "BytesIO.closed BytesIO.getvalue BytesIO.readlines BytesIO.truncate FileIO.isatty FileIO.readall "
            "FileIO.seekable FileIO.writable FileIO.write IOBase StringIO.getvalue StringIO.tell "
            "TextIOWrapper TextIOWrapper.reconfigure TextIOWrapper.seek"
        ),
        "lzma": "open",
        "os.path": "realpath relpath samestat splitdrive",
        "pathlib": (
            "Path Path.group Path.hardlink_to Path.owner Path.readlink Path.rename Path.symlink_to "
            "Path.touch Path.write_text PurePath PurePath.parent PurePath.relative_to PurePath.root "
            "PurePosixPath WindowsPath"
        ),
        "shutil": "ExecError SameFileError get_terminal_size rmtree unregister_unpack_format which",
        "tarfile": (
            "CompressionError ExtractError TarFile.bz2open TarFile.extractfile TarFile.getmembers "
            "TarFile.makedev TarFile.makefifo TarFile.makefile TarFile.next TarFile.open TarFile.taropen "
            "TarInfo.create_gnu_header TarInfo.create_pax_global_header TarInfo.frombuf TarInfo.fromtarfile "
            "TarInfo.ischr TarInfo.islnk TarInfo.tobuf"
        ),
        "tempfile": "SpooledTemporaryFile gettempprefix",
        "zipfile": (
            "PyZipFile.writepy ZipFile ZipFile.close ZipFile.comment ZipFile.namelist ZipFile.printdir "
            "ZipFile.read ZipFile.testzip ZipFile.write ZipFile.writestr is_zipfile"
        ),
    },
    "time": {
        "calendar": (
            "Calendar.itermonthdates Calendar.iterweekdays Calendar.yeardatescalendar HTMLCalendar "
            "HTMLCalendar.formatday HTMLCalendar.formatmonth HTMLCalendar.formatmonthname "
            "HTMLCalendar.formatweek HTMLCalendar.formatweekday HTMLCalendar.formatweekheader "
            "HTMLCalendar.formatyear HTMLCalendar.formatyearpage TextCalendar TextCalendar.formatday "
            "TextCalendar.formatmonthname TextCalendar.formatweekday TextCalendar.formatweekheader "
            "TextCalendar.formatyear TextCalendar.prmonth TextCalendar.pryear isleap leapdays timegm"
        ),
        "datetime": (
            "date.fromtimestamp date.isocalendar date.isoformat date.replace date.toordinal datetime.date "
            "datetime.now datetime.replace datetime.time datetime.timestamp datetime.timetz time.isoformat "
            "time.replace timedelta timedelta.total_seconds timezone timezone.tzname tzinfo"
        ),
        "zoneinfo": (
            "InvalidTZPathWarning ZoneInfo.dst ZoneInfo.tzname ZoneInfoNotFoundError available_timezones"
        ),
    },
}
"""Functions, classes and methods with a docstring: by label, then by module."""

LABELS = tuple(NAMES)
"""The labels."""

FEWEST = 300
"""A Python that documents fewer of the names than this is not good for the data set."""

_SENTENCE = re.compile(r".*?[.!?](?=\s+[A-Z`'\"(]|$)")


class Labelled(msgspec.Struct, frozen=True):
    """One text of the data set.

    Attributes:
        text: First sentence of a docstring.
        label: What it is about.
        name: Where the docstring stands: "module.name".
    """

    text: str
    label: str
    name: str


def labelled_texts() -> list[Labelled]:
    """Return the data set, shuffled the same way everywhere.

    Raises:
        Unavailable: This Python was started without docstrings (`-OO`).
    """
    found = [
        Labelled(text, label, f"{module}.{name}")
        for label, modules in NAMES.items()
        for module, names in modules.items()
        for name in names.split()
        if (text := _first_sentence(module, name)) is not None
    ]
    if len(found) < FEWEST:
        raise Unavailable(
            f"cannot build the data set: only {len(found)} docstrings of the standard library were found; "
            "run Python without -OO"
        )
    return sorted(found, key=lambda item: hashlib.blake2b(item.name.encode()).digest())


def _first_sentence(module: str, name: str) -> str | None:
    """Return the first sentence of a docstring, None where there is none."""
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    words = (
        " ".join(inspect.cleandoc(found.__doc__ or "").split("\n\n")[0].split()) if found is not None else ""
    )
    sentence = _SENTENCE.match(words)
    return (sentence[0] if sentence is not None else words) or None
