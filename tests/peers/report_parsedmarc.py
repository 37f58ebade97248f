"""Reads report mails with parsedmarc and with Python's own email package.

Takes the mails' paths as arguments and prints one JSON object a line: what parsedmarc found in the
report, `file_names` and `subject` as the email package sees them, and what parsedmarc warned about.
Asks nothing of the network.
"""

import email
import email.policy
import json
import logging
import sys

import parsedmarc

WARNINGS = []


class Collector(logging.Handler):
    def emit(self, record):
        WARNINGS.append(record.getMessage())


logging.getLogger("parsedmarc").addHandler(Collector(level=logging.WARNING))


def row(record):
    evaluated = record["policy_evaluated"]
    results = record["auth_results"]
    return {
        "source_ip": record["source"]["ip_address"],
        "count": record["count"],
        "disposition": evaluated["disposition"],
        "aligned_dkim": evaluated["dkim"],
        "aligned_spf": evaluated["spf"],
        "reasons": [
            [reason["type"], reason["comment"]]
            for reason in evaluated["policy_override_reasons"]
        ],
        "header_from": record["identifiers"]["header_from"],
        "envelope_to": record["identifiers"]["envelope_to"],
        "dkim": [[d["domain"], d["selector"], d["result"]] for d in results["dkim"]],
        "spf": [[s["domain"], s["scope"], s["result"]] for s in results["spf"]],
    }


def answer(path):
    WARNINGS.clear()
    with open(path, "rb") as file:
        mail = file.read()
    parsed = parsedmarc.parse_report_email(mail, offline=True)
    report = parsed["report"]
    meta, policy = report["report_metadata"], report["policy_published"]
    message = email.message_from_bytes(mail, policy=email.policy.default)
    return {
        "type": parsed["report_type"],
        "org_name": meta["org_name"],
        "contact": meta["org_email"],
        "report_id": meta["report_id"],
        "begin": meta["begin_date"],
        "end": meta["end_date"],
        "errors": meta["errors"],
        "domain": policy["domain"],
        "policy": {
            key: policy.get(key)
            for key in ("p", "sp", "np", "adkim", "aspf", "fo", "testing", "discovery_method")
        },
        "rows": [row(record) for record in report["records"]],
        "file_names": [part.get_filename() for part in message.iter_attachments()],
        "subject": message["Subject"],
        "defects": [str(defect) for part in message.walk() for defect in part.defects],
        "warnings": WARNINGS[:],
    }


for path in sys.argv[1:]:
    print(json.dumps(answer(path)))
