"""Answers SPF questions with pyspf over given DNS data.

Reads one JSON object a line from standard input: client, helo, sender, receiver and zone, which maps
names in lower case to lists of [type, value]. Prints one object a line: result, explanation (the
domain owner's, or null) and problem (pyspf's words). Asks no DNS: its library is replaced by a stub.
"""

import json
import sys
import types


def stub_dns_library():
    """pyspf only imports it to define a look-up function, which is replaced below."""
    library = types.ModuleType("dns")
    library.__path__ = []
    library.rdatatype = types.SimpleNamespace(SPF=99)
    sys.modules["dns"] = library
    for part in ("resolver", "exception"):
        module = types.ModuleType("dns." + part)
        sys.modules["dns." + part] = module
        setattr(library, part, module)


stub_dns_library()
import spf  # noqa: E402


def lookup_over(zone):
    def lookup(name, qtype, strict=True, timeout=None):
        entries = zone.get(name.lower().rstrip("."), [])
        found = []
        for kind, value in entries:
            if kind in (qtype, "CNAME"):
                found.append(((name, kind), rdata(kind, value)))
        if not found and ["TIMEOUT", None] in entries:
            raise spf.TempError("DNS timeout")
        return found

    return lookup


def rdata(kind, value):
    if kind == "TXT":
        return [string.encode("latin-1") for string in value]
    if kind == "MX":
        return tuple(value)
    return value


def answer(case):
    spf.DNSLookup = lookup_over(case["zone"])
    query = spf.query(
        i=case["client"], s=case["sender"], h=case["helo"], receiver=case["receiver"], timeout=20
    )
    query.set_default_explanation("DEFAULT")
    try:
        result, _, explanation = query.check()
    except Exception as error:  # a crash is an answer, too
        return {"result": "crash", "explanation": None, "problem": repr(error)}
    problem = explanation if result in ("permerror", "temperror") else ""
    if result != "fail" or explanation == "DEFAULT":
        explanation = None
    return {"result": result, "explanation": explanation, "problem": problem}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
