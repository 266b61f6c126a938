"""The real packages of the benchmark: which release, which tests, which half, and how they get onto the disk.

A package is taken as a source distribution by pip, checked against the hash published here, and unpacked in the user's
cache folder. Its tests run from that tree in an environment that holds their dependencies and never the package itself.

A half that was held out, and then looked at, is spent: packages that nobody had looked at take its place. Until seed
678 they were the next ones of a list of well-known pure Python packages by the hash of their names alone. That order
has come to its end. From seed 679 on it is the order of the published CANDIDATES by the hash of the seed and the name:
the first six are held out whose newest source distribution brings its tests, which are pure Python, whose tests run
from the unpacked tree in less than 12 seconds with the package's own configuration of pytest, and from which at least
eight drifts are drawn. Up to seed 679 the development half was the one that had been held out before. From seed 680 on
it is fresh, too: the next six of the same order. What was tuned on with a seed retires.

With seed 681 blinker was held out and run before it showed that its own configuration keeps its tests from beginning
here: a warning of the newest plugin is an error there. The next of the order, cssselect, took its place.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

# Outside of any project: pytest and the tool look for configuration in the folders above.
CACHE = Path.home() / ".cache" / "netra-repair-benchmark"
PYTEST = ("iniconfig==2.3.1", "packaging==26.3", "pluggy==1.7.0", "pygments==2.21.0", "pytest==9.2.0")
# The same switches in every run that the benchmark makes itself. A test that a package's `-x` keeps from running is
# not broken.
PYTEST_OPTIONS = ("-q", "-p", "no:cacheprovider", "--tb=no", "-W", "ignore", "--maxfail=0")


@dataclass(frozen=True, slots=True)
class Package:
    """One release with its tests.

    Attributes:
        name: as pip knows it.
        version: the release.
        sha256: of its source distribution.
        source: the folder, relative to the unpacked tree, that is put on the import path.
        top: the folder of the package itself: what drifts.
        tests: what pytest is given.
        left_out: test files that are not run: servers, networks, minutes, or the package's own installed metadata.
        requirements: what the tests need besides pytest, pinned.
    """

    name: str
    version: str
    sha256: str
    source: str
    top: str
    tests: tuple[str, ...] = ("tests",)
    left_out: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()

    @property
    def held_out(self) -> bool:
        """Whether it may be looked at only in the end."""
        return self in HELD_OUT

    @property
    def tree(self) -> Path:
        """Where it is unpacked."""
        return CACHE / "trees" / self.name

    @property
    def environment(self) -> Path:
        """Its virtual environment."""
        return CACHE / "environments" / self.name

    @property
    def python(self) -> Path:
        """The interpreter its tests run with."""
        return self.environment / "bin" / "python"


TRIO = (
    "attrs==26.1.0",
    "idna==3.20",
    "outcome==1.3.0.post0",
    "sniffio==1.3.1",
    "sortedcontainers==2.4.0",
    "trio==0.35.0",
)

# What both halves are taken from: well known by name, and not looked at before the list was published.
CANDIDATES = (
    "attrs",
    "beartype",
    "bidict",
    "bleach",
    "blinker",
    "bottle",
    "cattrs",
    "cerberus",
    "configobj",
    "construct",
    "cssselect",
    "cssutils",
    "decorator",
    "defusedxml",
    "docutils",
    "fastjsonschema",
    "feedparser",
    "flask",
    "funcy",
    "furl",
    "html5lib",
    "httpcore",
    "humanize",
    "hyperlink",
    "icalendar",
    "inflect",
    "intervaltree",
    "isodate",
    "itsdangerous",
    "jmespath",
    "jsonpath-ng",
    "jsonpickle",
    "jsonschema",
    "loguru",
    "markdown",
    "mistletoe",
    "more-itertools",
    "natsort",
    "networkx",
    "openpyxl",
    "ordered-set",
    "outcome",
    "passlib",
    "ply",
    "pluggy",
    "portion",
    "prettytable",
    "prompt-toolkit",
    "pycodestyle",
    "pydash",
    "pyflakes",
    "pyjwt",
    "pyparsing",
    "pyrsistent",
    "pytz",
    "rdflib",
    "responses",
    "rich",
    "rsa",
    "schema",
    "schematics",
    "semver",
    "simplejson",
    "smmap",
    "sortedcontainers",
    "soupsieve",
    "starlette",
    "tabulate",
    "tablib",
    "tenacity",
    "textdistance",
    "tinycss2",
    "tomli",
    "toolz",
    "tornado",
    "typeguard",
    "uritemplate",
    "urllib3",
    "urwid",
    "voluptuous",
    "wcwidth",
    "xmltodict",
    "zipp",
)

# Each half in the order in which its packages were found; the held-out ones were found first.
DEVELOPMENT = (
    Package(
        "pyjwt",
        "2.15.1",
        "4f259e80cdfb6b3fc18a7de51fd1ef9ec79652f25019bae68975ca2468a34df8",
        source=".",
        top="jwt",
        requirements=("cffi==2.1.1", "cryptography==50.0.2", "pycparser==3.12"),
    ),
    Package(
        "bleach",
        "6.4.0",
        "4202482733d85cedd04e59fcb2f89f4e4c7c385a78d3c3c23c30446843a37452",
        source=".",
        top="bleach",
        requirements=("tinycss2==1.5.1", "webencodings==0.6.1"),
    ),
    Package(
        "jsonpickle",
        "4.1.4",
        "8adf24cca611809b55ff5ed2ace850e1a3e4370dad5d363df71569b8f46c9645",
        source=".",
        top="jsonpickle",
        requirements=(
            "coverage==7.17.5",
            "py-cpuinfo2==10.1.1",
            "pytest-benchmark==5.3.1",
            "pytest-cov==7.1.0",
            "pyyaml==6.0.4",
            "simplejson==4.3.0",
            "ujson==6.1.0",
        ),
    ),
    Package(
        "inflect",
        "7.6.0",
        "b46875b50534a7cd5fcfb5a7c971bb93fe68948c43ca53e9833bd1e1a69221bd",
        source=".",
        top="inflect",
        requirements=(
            "jaraco.functools==4.6.0",
            "more-itertools==11.2.1",
            "typeguard==4.6.1",
            "typing-extensions==4.16.0",
        ),
    ),
    Package(
        "starlette",
        "1.10.0",
        "b8399098d4c1e3522734f7235dc79b1fc967f96cf139c81e0fa30479e0685f9b",
        source=".",
        top="starlette",
        requirements=(
            "anyio==4.16.0",
            "attrs==26.1.0",
            "certifi==2026.10.19.post1",
            "h11==0.16.0",
            "httpcore2==2.16.2",
            "httpcore==1.0.9",
            "httpx2==2.16.2",
            "httpx==0.28.1",
            "idna==3.20",
            "itsdangerous==2.2.0",
            "jinja2==3.1.6",
            "markupsafe==3.0.4",
            "opentelemetry-api==1.45.2",
            "opentelemetry-sdk==1.45.2",
            "opentelemetry-semantic-conventions==0.66b2",
            "outcome==1.3.0.post0",
            "python-multipart==0.0.34",
            "pyyaml==6.0.4",
            "sniffio==1.3.1",
            "sortedcontainers==2.4.0",
            "trio==0.35.0",
            "truststore==0.10.5",
            "typing-extensions==4.16.0",
        ),
    ),
    Package(
        "zipp",
        "4.1.2",
        "cf474b90b07ea932637e17c6b9479de2b2882900b0d311bdaf4f5c000a15a97f",
        source=".",
        top="zipp",
        requirements=(
            "annotated-doc==0.0.7",
            "annotated-types==0.8.0",
            "backports.tarfile==1.2.0",
            "big-o==0.11.0",
            "inflect==7.6.0",
            "jaraco.collections==5.2.1",
            "jaraco.context==6.1.2",
            "jaraco.functools==4.6.0",
            "jaraco.itertools==6.4.3",
            "jaraco.test==5.7.0",
            "jaraco.text==4.3.0",
            "markdown-it-py==4.3.0",
            "mdurl==0.1.2",
            "more-itertools==11.2.1",
            "numpy==2.4.6",
            "pydantic-core==2.50.5",
            "pydantic==2.14.4",
            "pytest-ignore-flaky==2.2.1",
            "rich==15.0.0",
            "shellingham==1.5.4",
            "typeguard==4.6.1",
            "typer-slim==0.24.0",
            "typer==0.29.2",
            "typing-extensions==4.16.0",
            "typing-inspection==0.4.5",
        ),
    ),
)

HELD_OUT = (
    Package(
        "httpcore",
        "1.0.9",
        "6e34463af53fd2ab5d807f399a9b45ea31c3dfa2276f15a2c3f00afff6e176e8",
        source=".",
        top="httpcore",
        left_out=("tests/_async/test_integration.py", "tests/_sync/test_integration.py", "tests/test_api.py"),
        requirements=(
            "anyio==4.16.0",
            "attrs==26.1.0",
            "certifi==2026.10.19.post1",
            "h11==0.16.0",
            "h2==4.4.1",
            "hpack==4.2.0",
            "hyperframe==6.1.0",
            "idna==3.20",
            "outcome==1.3.0.post0",
            "pytest-trio==0.8.0",
            "sniffio==1.3.1",
            "socksio==1.0.0",
            "sortedcontainers==2.4.0",
            "trio==0.35.0",
            "typing-extensions==4.16.0",
        ),
    ),
    Package(
        "jsonschema",
        "4.26.0",
        "0c26707e2efad8aa1bfc5b7ce170f3fccc2e4918ff85989ba9ffa9facb2be326",
        source=".",
        top="jsonschema",
        tests=("jsonschema/tests",),
        left_out=("jsonschema/tests/test_cli.py",),
        requirements=(
            "attrs==26.1.0",
            "jsonpath-ng==1.16.0",
            "jsonschema-specifications==2025.9.1",
            "referencing==0.37.0",
            "rpds-py==2026.9.1",
            "typing-extensions==4.16.0",
        ),
    ),
    Package(
        "feedparser",
        "6.0.14",
        "088679b0c4b543ee211a820dd544698c76a402122eae7473c04a43425f283d06",
        source=".",
        top="feedparser",
        tests=("tests/runtests.py",),
        requirements=("feedparser-sgmllib==2.1.0",),
    ),
    Package(
        "voluptuous",
        "0.16.0",
        "006535e22fed944aec17bef6e8725472476194743c87bd233e912eb463f8ff05",
        source=".",
        top="voluptuous",
        tests=("voluptuous/tests/tests.py",),
    ),
    Package(
        "pydash",
        "8.1.0",
        "30914c3e9d377ea2cd0d3c0a4f252889b08392f730a5eb4d117e5b598cdf1d52",
        source="src",
        top="src/pydash",
        left_out=("tests/pytest_mypy_testing",),
        requirements=("coverage==7.17.5", "pytest-cov==7.1.0", "typing-extensions==4.16.0"),
    ),
    Package(
        "cssselect",
        "1.6.0",
        "8c83a7139e97b93aa5ebdc0f46e785f7056a08a8bf201e597a6a2629d7eb11db",
        source=".",
        top="cssselect",
        requirements=("lxml==6.1.3",),
    ),
)

PACKAGES = (*DEVELOPMENT, *HELD_OUT)

# Tuned on with the seeds before, and scored no more: they run only when they are named.
RETIRED = (
    Package(
        "asttokens",
        "3.0.2",
        "3ecdbd8f2cc195f53ccada3a613538bb5f9ef6f6869129f13e03c30a677b8fe2",
        source=".",
        top="asttokens",
        requirements=("astroid==4.3.4",),
    ),
    Package(
        "asyncstdlib",
        "3.14.0",
        "f99396992a3bba7495d8cf6c832bfe8c8727f61213233d3569a5a9cbd1c04385",
        source=".",
        top="asyncstdlib",
        tests=("unittests",),
        requirements=("typing-extensions==4.16.0",),
    ),
    Package(
        "attrs",
        "26.1.0",
        "d03ceb89cb322a8fd706d4fb91940737b6642aa36998fe130a9bc96c985eff32",
        source="src",
        top="src/attr",
        left_out=("tests/test_packaging.py",),
        requirements=("cloudpickle==3.1.3", "hypothesis==6.170.17", "pympler==1.1", "sortedcontainers==2.4.0"),
    ),
    Package(
        "beautifulsoup4",
        "4.15.0",
        "288e3ca7d54b06f2ac191970bc275c1939cb46d450b255bf6718b04aa37ab4f7",
        source=".",
        top="bs4",
        tests=("bs4/tests",),
        requirements=(
            "charset-normalizer==3.5.3",
            "html5lib==1.1",
            "lxml==6.1.3",
            "six==1.17.0",
            "soupsieve==4.1.3",
            "typing-extensions==4.16.0",
            "webencodings==0.6.1",
        ),
    ),
    Package(
        "bitstring",
        "5.0.0",
        "01d876b6e7bbd912bfa3ae1d028ed419ed2193245fe2337f21d30afaa391c053",
        source=".",
        top="bitstring",
        left_out=("tests/test_benchmarks.py",),
        requirements=(
            "array-api-compat==1.16.0",
            "gfloat==0.5.2",
            "hypothesis==6.170.17",
            "more-itertools==11.2.1",
            "numpy==2.4.6",
            "sortedcontainers==2.4.0",
            "tibs==2.0.2",
        ),
    ),
    Package(
        "boltons",
        "26.2.0",
        "d39cfd15c1a1c3bd4d705c82252fa9edb8e4f5e8cc039f8e39afac7b1b47e92c",
        source=".",
        top="boltons",
    ),
    Package(
        "cachetools",
        "8.0.2",
        "30ac523adfc118b51d2b2e7bad8a0ddb31370dfe2700c7f10ca224f36ccf81e0",
        source="src",
        top="src/cachetools",
    ),
    Package(
        "chameleon",
        "4.6.0",
        "910cd729f6f7f38adad132ee51faa4f3ccc8344a6721aac31aa51a31f5781c1b",
        source="src",
        top="src/chameleon",
        tests=("src/chameleon/tests",),
        requirements=("wheel==0.48.0",),
    ),
    Package(
        "click",
        "8.5.1",
        "9bbfada76703fd1d784b83eea012e3e8c6a001a876543ef104fa56aaaeb072b4",
        source="src",
        top="src/click",
        left_out=(
            "tests/test_deprecations.py",
            "tests/test_imports.py",
            "tests/test_stream_lifecycle.py",
            "tests/test_termui.py",
        ),
    ),
    Package(
        "commonmark",
        "0.9.2",
        "194d693e0c1ac49e83c26455bdeeb2483235e6280313c58b11d0b71c19f58ed1",
        source=".",
        top="commonmark",
        tests=("commonmark/tests/unit_tests.py",),
        requirements=("hypothesis==6.170.17", "sortedcontainers==2.4.0"),
    ),
    Package(
        "configobj",
        "5.0.9",
        "03c881bbf23aa07bccf1b837005975993c4ab4427ba57f959afdd9d1a2386848",
        source="src",
        top="src/configobj",
        tests=("src/tests",),
    ),
    Package(
        "cssutils",
        "2.15.0",
        "e9739237f3915037dacba787c4b58f280e3ec5d9864953e185bf23d40ff7d021",
        source=".",
        top="cssutils",
        requirements=(
            "annotated-doc==0.0.7",
            "annotated-types==0.8.0",
            "backports.tarfile==1.2.0",
            "chardet==7.7.0",
            "cssselect==1.6.0",
            "encutils==1.0.0",
            "jaraco.collections==5.2.1",
            "jaraco.context==6.1.2",
            "jaraco.functools==4.6.0",
            "jaraco.test==5.7.0",
            "jaraco.text==4.3.0",
            "markdown-it-py==4.3.0",
            "mdurl==0.1.2",
            "more-itertools==11.2.1",
            "pydantic==2.14.4",
            "pydantic-core==2.50.5",
            "rich==15.0.0",
            "shellingham==1.5.4",
            "typer==0.29.2",
            "typer-slim==0.24.0",
            "typing-extensions==4.16.0",
            "typing-inspection==0.4.5",
        ),
    ),
    Package(
        "dnspython",
        "2.9.2",
        "8d4d39a513e649d634004ce4d39ade2352efcea472a0247535a5c2d18a9d7ba9",
        source=".",
        top="dns",
        left_out=(
            "tests/test_async.py",
            "tests/test_ddr.py",
            "tests/test_doh.py",
            "tests/test_doq.py",
            "tests/test_query.py",
            "tests/test_resolution.py",
            "tests/test_resolver.py",
            "tests/test_resolver_override.py",
            "tests/test_tls_util.py",
            "tests/test_tsig_doh_doq.py",
        ),
        requirements=("cffi==2.1.1", "cryptography==50.0.2", "idna==3.20", "pycparser==3.12"),
    ),
    Package(
        "docutils",
        "0.23",
        "746f5060322511280a1e50eb76846ed6bf2342984b2ac04dc42caa1a8d78799e",
        source=".",
        top="docutils",
        tests=("test",),
    ),
    Package(
        "elementpath",
        "5.1.4",
        "3c912a9c41311ac5244c038867670d7c0b0fec0e444813608e5b846dbb3428ac",
        source=".",
        top="elementpath",
        requirements=("lxml==6.1.3",),
    ),
    Package(
        "furl",
        "2.1.4",
        "877657501266c929269739fb5f5980534a41abd6bbabcb367c136d1d3b2a6015",
        source=".",
        top="furl",
        requirements=("orderedmultidict==1.0.2", "six==1.17.0"),
    ),
    Package(
        "glom",
        "25.12.0",
        "1ae7da88be3693df40ad27bdf57a765a55c075c86c971bcddd67927403eb0069",
        source=".",
        top="glom",
        tests=("glom/test",),
        requirements=("attrs==26.1.0", "boltons==26.2.0", "face==26.0.1", "pyyaml==6.0.4"),
    ),
    Package(
        "h11",
        "0.16.0",
        "4e35b956cf45792e4caa5885e69fba00bdbc6ffafbfa020300e549b208ee5ff1",
        source=".",
        top="h11",
        tests=("h11/tests",),
        left_out=("h11/tests/test_against_stdlib_http.py",),
    ),
    Package(
        "h2",
        "4.4.1",
        "4e866ffb1a869ae14dd9b5e6beb5c24a13da0495ad72b65925ded182521c1516",
        source="src",
        top="src/h2",
        requirements=("hpack==4.2.0", "hyperframe==6.1.0", "hypothesis==6.170.17", "sortedcontainers==2.4.0"),
    ),
    Package(
        "hyperlink",
        "21.0.0",
        "427af957daa58bc909471c6c40f74c5450fa123dd093fc53efd2e91d2705a56b",
        source="src",
        top="src/hyperlink",
        tests=("src/hyperlink/test",),
        requirements=("idna==3.20",),
    ),
    Package(
        "intervaltree",
        "3.2.1",
        "f3f7e8baeb7dd75b9f7a6d33cf3ec10025984a8e66e3016d537e52130c73cfe2",
        source=".",
        top="intervaltree",
        tests=("test",),
        requirements=("sortedcontainers==2.4.0",),
    ),
    Package(
        "itsdangerous",
        "2.2.0",
        "e0050c0b7da1eea53ffaf149c0cfbb5c6e2e2b69c4bef22c81fa6eb73e5f6173",
        source="src",
        top="src/itsdangerous",
        requirements=("freezegun==1.5.5", "python-dateutil==4.0.0", "tzdata==2026.6"),
    ),
    Package(
        "jinja2",
        "3.1.6",
        "0137fb05990d35f1275a587e9aee6d56da821fc83491a0fb838183be43f66d6d",
        source="src",
        top="src/jinja2",
        requirements=("markupsafe==3.0.4", *TRIO),
    ),
    Package(
        "lark",
        "1.3.1",
        "b426a7a6d6d53189d318f2b6236ab5d6429eaf09259f1ca33eb716eed10d2905",
        source=".",
        top="lark",
    ),
    Package(
        "mako",
        "1.4.3",
        "cd6537fe88d5fec315c55c2f8529bc4ce7a9a352ad7db3eeaa6a66e2dd4ec37a",
        source=".",
        top="mako",
        tests=("test",),
        requirements=("markupsafe==3.0.4",),
    ),
    Package(
        "markdown-it-py",
        "4.3.0",
        "91a58fa5b72c71a40cf7177250fd767480d7a2bb3ac426ccfb76fb90305fdaaa",
        source=".",
        top="markdown_it",
        requirements=(
            "linkify-it-py==2.2.0",
            "mdurl==0.1.2",
            "pytest-datadir==1.9.0",
            "pytest-regressions==2.11.0",
            "pyyaml==6.0.3",
            "uc-micro-py==2.0.0",
        ),
    ),
    Package(
        "marshmallow",
        "4.4.0",
        "9e6ffa8511012ca89732324c1c253efd7b4d35632dcbdf80aa793fe01804af3e",
        source="src",
        top="src/marshmallow",
        requirements=("simplejson==4.3.0",),
    ),
    Package(
        "mistletoe",
        "1.6.0",
        "92f066c4720a25fa24bf260e6413702bbff3a5b8a93af314cb6cd8589726a8e1",
        source=".",
        top="mistletoe",
        tests=("test",),
        requirements=("parameterized==0.9.0",),
    ),
    Package(
        "mistune",
        "3.4.0",
        "2eaf7952af928ca8d33b779762effc1da517b62c6ad85ec8ca957e3b07b9782a",
        source="src",
        top="src/mistune",
        left_out=("tests/test_security_inline.py",),
    ),
    Package(
        "mock",
        "5.2.0",
        "4e460e818629b4b173f32d08bf30d3af8123afbb8e04bb5707a1fd4799e503f0",
        source=".",
        top="mock",
        tests=("mock/tests",),
    ),
    Package(
        "oauthlib",
        "4.0.1",
        "3d73febdb6faa00f277c81fb04be7b7586fb96fc3b7f0b9c772dada69a25ede7",
        source=".",
        top="oauthlib",
        requirements=("blinker==1.9.0", "cffi==2.1.1", "cryptography==50.0.2", "pycparser==3.12", "pyjwt==2.15.1"),
    ),
    Package(
        "ordered-set",
        "4.1.0",
        "694a8e44c87657c59292ede72891eb91d34131f6531463aab3009191c77364a8",
        source=".",
        top="ordered_set",
        tests=("test",),
    ),
    Package(
        "parso",
        "0.8.7",
        "eaaac4c9fdd5e9e8852dc778d2d7405897ec510f2a298071453e5e3a07914bb1",
        source=".",
        top="parso",
        tests=("test",),
    ),
    Package(
        "pyasn1",
        "0.6.5",
        "6b11616a6bcf3a40e635f082bb232fa57b5e0dd7f517bd7ddd69ec3794508a47",
        source=".",
        top="pyasn1",
    ),
    Package(
        "pyflakes",
        "4.1.0",
        "592beb57058eb82eb190fb7514f2081c555c51000b029ff71286a681e6cf2f83",
        source=".",
        top="pyflakes",
        tests=("pyflakes/test",),
    ),
    Package(
        "responses",
        "0.26.3",
        "b0c11ca8131b8b227b8d5108e6ed39772222bd5aab030ed430e8f99057c4c409",
        source=".",
        top="responses",
        tests=("responses/tests",),
        requirements=(
            "certifi==2026.10.19.post1",
            "charset-normalizer==3.5.3",
            "idna==3.20",
            "markupsafe==3.0.4",
            "pytest-asyncio==1.5.0",
            "pytest-httpserver==1.2.0",
            "pyyaml==6.0.4",
            "requests==2.34.2",
            "tomli-w==1.2.0",
            "typing-extensions==4.16.0",
            "urllib3==2.8.0",
            "werkzeug==3.1.9",
        ),
    ),
    Package(
        "schema",
        "0.7.8",
        "e86cc08edd6fe6e2522648f4e47e3a31920a76e82cce8937535422e310862ab5",
        source=".",
        top="schema",
        tests=("test_schema.py",),
    ),
    Package(
        "semver",
        "3.1.2",
        "bea193552413194252d33ff26ce0962b76669bd1c6fb17e8e203ac37f072feaf",
        source="src",
        top="src/semver",
        requirements=("coverage==7.17.5", "pytest-cov==7.1.0"),
    ),
    Package(
        "simpy",
        "4.1.2",
        "76ef36b71e0436ba94e55febc001c78879e493a323f045bbcfbb0b216e9b1fbc",
        source="src",
        top="src/simpy",
        left_out=("tests/test_rt.py",),
    ),
    Package(
        "smmap",
        "5.0.3",
        "4d9debb8b99007ae47165abc08670bd74cb74b5227dda7f643eccc4e9eb5642c",
        source=".",
        top="smmap",
        tests=("smmap/test",),
    ),
    Package(
        "sqlparse",
        "0.6.1",
        "ca722573f848ff2d30e40ea30f53a104b7dea7635ea9285891263eb2c58fb6e7",
        source=".",
        top="sqlparse",
        left_out=("tests/test_dos_prevention.py",),
    ),
    Package(
        "structlog",
        "26.1.0",
        "f63a716cbd1b1291cf7661de7794b455acfa4c43c5bcf1630e6ad5ddc1adb3b7",
        source="src",
        top="src/structlog",
        left_out=("tests/test_packaging.py",),
        requirements=(
            "attrs==26.1.0",
            "automat==25.4.16",
            "constantly==23.10.4",
            "hyperlink==21.0.0",
            "idna==3.20",
            "incremental==24.11.0",
            "markdown-it-py==4.3.0",
            "mdurl==0.1.2",
            "pytest-asyncio==1.5.0",
            "rich==15.0.0",
            "simplejson==4.3.0",
            "time-machine==3.6.0",
            "twisted==26.10.0",
            "typing-extensions==4.16.0",
            "zope.interface==8.7",
        ),
    ),
    Package(
        "tablib",
        "3.10.0",
        "781cfa9a42de8f33c52aff857fd0a04e483de4fd1c53eaaa9a6aeac62bad11de",
        source="src",
        top="src/tablib",
        requirements=(
            "coverage==7.17.5",
            "defusedxml==0.7.1",
            "et-xmlfile==2.0.0",
            "odfpy==1.4.1",
            "openpyxl==3.1.5",
            "pytest-cov==7.1.0",
            "pyyaml==6.0.4",
            "tabulate==0.10.0",
            "xlrd==2.0.2",
            "xlwt==1.3.0",
        ),
    ),
    Package(
        "tenacity",
        "9.2.1",
        "a606b5c808d0cded4a359d5b9932d867ff2a6a6b64d37350260fd01bbdf83839",
        source=".",
        top="tenacity",
        requirements=("tornado==6.6.1",),
    ),
    Package(
        "tinydb",
        "4.9.0",
        "6928b1fa785186bda7952a0ba05aaeedc883ede565ca9c7d608de44e5e75de70",
        source=".",
        top="tinydb",
        requirements=("pyyaml==6.0.4",),
    ),
    Package(
        "tomlkit",
        "0.15.2",
        "83e32755ba1d20d9340bd069ee97e9f6232ba2346b63ffcba425de01f7e327a6",
        source=".",
        top="tomlkit",
        requirements=("pyyaml==6.0.3",),
    ),
    Package(
        "traitlets",
        "5.16.1",
        "ed900c2b631aa3a112811139fa97b8d2c3bad5e989656bba4b7e52c7852c18c1",
        source=".",
        top="traitlets",
        left_out=("tests/config/test_argcomplete.py", "tests/test_typing.py"),
        requirements=("argcomplete==3.7.2",),
    ),
    Package(
        "transitions",
        "0.9.3",
        "881fb75bb1654ed55d86060bb067f2c716f8e155f57bb73fd444e53713aafec8",
        source=".",
        top="transitions",
        left_out=("tests/test_codestyle.py",),
        requirements=("dill==0.4.1", "mock==5.2.0", "six==1.17.0"),
    ),
    Package(
        "typeguard",
        "4.6.1",
        "d94fd3552c5feb6bada6e8bb1167d9916c08d7442141aeb041b847ba9bd1afb1",
        source="src",
        top="src/typeguard",
        left_out=("tests/mypy/test_type_annotations.py",),
        requirements=("typing-extensions==4.16.0",),
    ),
    Package(
        "webob",
        "1.8.11",
        "aa8c27231070b135c025e567a9cd7eda03f4df71352ffaac740cb6a75f0f81a5",
        source="src",
        top="src/webob",
    ),
    Package(
        "werkzeug",
        "3.1.9",
        "55ca7c70a75689be937aa27f8ff4b018f06ff4838fc73045560bf0f5a1291060",
        source="src",
        top="src/werkzeug",
        left_out=(
            "tests/middleware/test_http_proxy.py",
            "tests/test_debug.py",
            "tests/test_security.py",
            "tests/test_serving.py",
        ),
        requirements=(
            "cffi==2.1.1",
            "cryptography==50.0.2",
            "ephemeral-port-reserve==1.1.4",
            "markupsafe==3.0.4",
            "pycparser==3.12",
            "pytest-timeout==2.4.0",
            "watchdog==7.1.0",
        ),
    ),
    Package(
        "wsproto",
        "1.3.2",
        "b86885dcf294e15204919950f666e06ffc6c7c114ca900b060d6e16293528294",
        source="src",
        top="src/wsproto",
        requirements=("h11==0.16.0",),
    ),
    Package(
        "wtforms",
        "3.3.2",
        "49bb51d10b7832d497e758736da4d56f7d129a015db24756f36f28992f175404",
        source="src",
        top="src/wtforms",
        left_out=("tests/test_locale_babel.py", "tests/validators/test_email.py"),
        requirements=("markupsafe==3.0.4",),
    ),
    Package(
        "xmlschema",
        "4.3.2",
        "f3b33a21a2b2cdc404ddc3fb599d8bc1dee90b155d547370672e6e684746b8d6",
        source=".",
        top="xmlschema",
        requirements=("elementpath==5.1.4", "jinja2==3.1.6", "lxml==6.1.3", "markupsafe==3.0.4"),
    ),
)


def candidates(seed: int) -> list[str]:
    """The published names in the order in which a seed tries them, without those that were looked at before."""
    spent = {package.name for package in RETIRED}
    fresh = [name for name in CANDIDATES if name not in spent]
    return sorted(fresh, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).hexdigest())


def chosen(names: list[str] | None, held_out: bool) -> tuple[Package, ...]:
    """The packages a command is about.

    Args:
        names: those a person named; None for all of one half.
        held_out: which half, when none is named.

    Raises:
        KeyError: when a name is not one of the benchmark's.
    """
    if names is None:
        return tuple(package for package in PACKAGES if package.held_out == held_out)
    known = {package.name: package for package in (*PACKAGES, *RETIRED)}
    return tuple(known[name] for name in names)


def prepare(package: Package) -> None:
    """Puts the unpacked tree and the environment of a package onto the disk; what is there already is kept."""
    if not package.tree.exists():
        _unpack(_fetched(package), package.tree)
    if not (package.environment / "ready").exists():
        _make_environment(package)


def run_environment(package: Package, root: Path) -> dict[str, str]:
    """The process environment in which the tests of a copy of the tree run."""
    kept = {key: os.environ[key] for key in ("HOME", "LANG", "LC_ALL", "TMPDIR") if key in os.environ}
    return {
        **kept,
        "PATH": f"{package.environment / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(root / package.source),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }


def _fetched(package: Package) -> Path:
    """The source distribution on disk, with the published hash."""
    folder = CACHE / "sdists" / package.name
    if not folder.exists():
        folder.mkdir(parents=True)
        wanted = folder / "wanted.txt"
        wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
        # Only this package as source: what its build back end needs may come as a wheel.
        _pip(
            Path(sys.executable),
            ["download", "--no-deps", "--no-binary", package.name, "-r", str(wanted), "-d", str(folder)],
        )
    (archive,) = folder.glob("*.tar.gz")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != package.sha256:
        raise RuntimeError(f"{archive} is not the release that the benchmark was made for; remove its folder")
    return archive


def _unpack(archive: Path, tree: Path) -> None:
    """The archive's one folder becomes the tree, all at once."""
    partial = tree.with_name(f"{tree.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive) as members:
        members.extractall(partial, filter="data")
    (inner,) = partial.iterdir()
    inner.rename(tree)
    partial.rmdir()


def _make_environment(package: Package) -> None:
    """A virtual environment with pytest and what the tests need."""
    shutil.rmtree(package.environment, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(package.environment)], check=True)
    _pip(package.python, ["install", *PYTEST, *package.requirements])
    (package.environment / "ready").touch()


def _pip(python: Path, arguments: list[str]) -> None:
    """pip as it is configured, quietly."""
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)
