"""Outside readers of what alignd writes and reads: Python's own `email` and the package `authres`.

Takes a file of JSON lines, each {"from": value} or {"results": field}, octets as Latin-1 characters,
and prints one JSON line for each: the domains of the addresses in From; or what the field says.
"""

import email
import email.policy
import json
import re
import sys

import authres


def domains(value):
    text = b"From:" + value.encode("latin-1") + b"\r\nSubject: x\r\n\r\nbody\r\n"
    try:
        field = email.message_from_bytes(text, policy=email.policy.SMTP)["From"]
        # What is not ASCII comes as surrogates, one for each octet.
        found = [address.domain.encode("utf-8", "surrogateescape") for address in field.addresses]
        return [domain.decode("utf-8", "replace") for domain in found]
    except Exception as error:
        return repr(error)


def unescaped(text):
    """authres leaves the backslashes of quoted pairs in."""
    return text and re.sub(r"\\(.)", r"\1", text)


def results(value):
    text = b"Authentication-Results:" + value.encode("latin-1") + b"\nSubject: x\n\nbody\n"
    message = email.message_from_bytes(text)
    names = [name for name, _ in message.items()]
    if message.defects or names != ["Authentication-Results", "Subject"]:
        return {"error": f"{names} {message.defects}"}
    try:
        header = authres.AuthenticationResultsHeader.parse(
            "Authentication-Results:" + message["Authentication-Results"]
        )
    except Exception as error:
        return {"error": repr(error)}
    return {
        "authserv_id": header.authserv_id,
        "results": [
            {
                "method": result.method,
                "result": result.result,
                "reason": unescaped(result.reason),
                "properties": [[p.type, p.name, unescaped(p.value)] for p in result.properties],
            }
            for result in header.results
            if result.method != "none"
        ],
    }


with open(sys.argv[1], encoding="utf-8") as lines:
    for line in lines:
        question = json.loads(line)
        if "from" in question:
            print(json.dumps(domains(question["from"])))
        else:
            print(json.dumps(results(question["results"])))
