"""Bad clients: some send malformed input (EXC-6), some go away in the middle of a request (EXC-7).

| module | does |
|---|---|
| `rules` | the classes of malformed input, what each may be answered, and the judgement: pure |
| `cases` | one malformed input as data, and what came of it |
| `base` | the declared request in bytes |
| `grammar`, `bodies`, `framing`, `shapes` | Hypothesis strategies that derive cases from it |
| `exchange` | sends a case over a socket of its own and reads what comes back |
| `fuzzer` | the process that generates, sends and shrinks |
| `malformed` | the fault that runs the fuzzer |
| `crowds` | clients that come and vanish |
| `vanishing` | the fault that lets them, in rounds, and measures after each |
| `resources` | what the target's processes hold |
| `leaks` | what a series of such measurements says: pure |
| `__main__` | sends recorded cases again: `python -m drainproof.faults.bad_clients EVIDENCE --port 8000` |
"""
