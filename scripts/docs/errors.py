#!/usr/bin/env python3
"""Prints docs/errors.md, from the error enum in src/model/error.rs and the errors that the SQL functions raise."""
import pathlib
import re

root = pathlib.Path(__file__).resolve().parents[2]
source = (root / "src/model/error.rs").read_text()

meaning = {}
for doc, name in re.findall(r"((?:    /// .*\n)+)    (\w+)(?:\(.*\))?,\n", source.split("pub enum Code {")[1].split("\n}")[0] + "\n"):
    meaning[name] = " ".join(line.strip()[4:] for line in doc.strip().split("\n"))
states = dict(re.findall(r'Code::(\w+) => b"(\w{5})"', source))
temporary = set(re.findall(r"Code::(\w+)", re.search(r"((?:Code::\w+ \| )*Code::\w+) => true", source).group(1)))

own = {
    "MR001": "The lease has passed to another worker, or the chunk is closed by it: roll the work back.",
    "MR002": "The chunk is not leased to who answers.",
    "MR003": "The consumer has expired: chunks that it had not read are gone.",
    "MR004": "The consumer is halted until somebody resumes it.",
}
raised = {}
for path in sorted((root / "sql/schema").glob("*.sql")):
    for state in re.findall(r"ERRCODE = '(MR\d{3})'", path.read_text()):
        raised.setdefault(state, path.name)

print("<!-- Made by `make docs` from src/model/error.rs and sql/schema; edit those instead. -->")
print("# Errors\n")
print("Every error has a SQLSTATE to program by, a message that says what is wrong, DETAIL with the place (secrets removed) and, where something can")
print("be done, HINT. A pipeline that fails keeps its last error in `millrace.pipelines` (`last_error`, `last_sqlstate`), tries again with a wait that")
print("doubles up to five minutes, and says so in `millrace.events`; `SELECT * FROM millrace.doctor()` lists what wants doing.\n")
print("## Of pipelines and of the lake\n")
print("*Temporary*: trying the same again later may succeed without anybody changing anything; a worker does.\n")
print("| SQLSTATE | kind | meaning | temporary |\n|---|---|---|---|")
for name, text in meaning.items():
    if name in states:
        print(f"| `{states[name]}` | {name} | {text} | {'yes' if name in temporary else ''} |")
print("\nAn error that Postgres itself raises keeps its own SQLSTATE; classes 08, 40, 53, 57 and `55P03` are taken for temporary.\n")
print("## Of consumers\n")
print("| SQLSTATE | meaning |\n|---|---|")
for state in sorted(raised):
    print(f"| `{state}` | {own.get(state, 'see the function that raises it')} |")
print("\nFunctions of consumers also raise `22004` for a NULL where a value is needed, `22023` for a value that can't be used, `42704` for a stream or")
print("consumer that is not known, `42710` for a name that is taken and `55000` for a consumer in another state.")
