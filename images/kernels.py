"""Writes the kernelspecs of languages other than Python: ``kernels.py PREFIX LANGUAGE...``."""

import json
import pathlib
import sys

prefix, *languages = sys.argv[1:]

SPECS = {
    "bash": (
        "bash",
        {
            "argv": [f"{prefix}/bin/python", "-m", "bash_kernel", "-f", "{connection_file}"],
            "display_name": "Bash",
            "language": "bash",
            "env": {"PS1": "$"},
        },
    ),
    # Deno runs TypeScript, and so JavaScript. Its interrupt is a message; a signal would end it. Modules of Node may be
    # named as Node does, without "node:".
    "javascript": (
        "deno",
        {
            "argv": [f"{prefix}/bin/deno", "jupyter", "--kernel", "--conn", "{connection_file}"],
            "display_name": "JavaScript and TypeScript (Deno)",
            "language": "typescript",
            "interrupt_mode": "message",
            "env": {
                "NO_COLOR": "1",
                "DENO_NO_UPDATE_CHECK": "1",
                "DENO_UNSTABLE_BARE_NODE_BUILTINS": "1",
            },
        },
    ),
    "r": (
        "ir",
        {
            "argv": ["R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"],
            "display_name": "R",
            "language": "R",
        },
    ),
}

for language in languages:
    if language not in SPECS:
        sys.exit(f"no kernel of {language}: the build argument LANGUAGES knows {', '.join(SPECS)}")
    name, spec = SPECS[language]
    folder = pathlib.Path(prefix, "share/jupyter/kernels", name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernel.json").write_text(json.dumps(spec, indent=1))
