"""What Python's nbformat and nbclient make of notebooks, for the tests to compare with."""

import json
import sys
import warnings

import nbformat

warnings.simplefilter("ignore")


def rewrite(source, target):
    nbformat.write(nbformat.read(source, as_version=nbformat.NO_CONVERT), target)


def upgrade(source, target):
    nbformat.write(nbformat.read(source, as_version=4), target)


def validate(*names):
    for name in names:
        with open(name, encoding="utf-8") as f:
            nb = nbformat.reads(f.read(), as_version=nbformat.NO_CONVERT)
        warnings.simplefilter("error")  # what nbformat would mend is a fault of ours
        nbformat.validate(nb)


def execute(source, target, *options):
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    if not all(hasattr(NotebookClient, option) for option in options):
        print("unsupported")
        return
    nb = nbformat.read(source, as_version=4)
    client = NotebookClient(nb, kernel_name="python3", **{option: True for option in options})
    try:
        client.execute()
    except CellExecutionError as e:
        print(e.ename)
    nbformat.write(nb, target)


CELLS = [
    "# Sales of \u6771\u4eac\u2028and \u0645\u0631\u062d\u0628\u0627\r\n\n![chart](attachment:c.png)",
    "import sys, json\nprint('one')\nprint('\\x1b[31mtwo', file=sys.stderr)",
    "from IPython.display import display, HTML, Markdown\ndisplay(HTML('<b>x</b>\\n<i>y</i>'), display_id='d')\nMarkdown('*m*')",
    "display({'application/json': {'b': [1, 2.50, None], 'a': 1e100}, 'text/plain': 'j'}, raw=True)",
    "raise ValueError('\\u2713')",
]


def real(folder):
    """Writes notebooks as people's tools do, and prints their names."""
    import os

    from nbclient import NotebookClient
    from nbformat import v4

    def save(nb, name):
        nbformat.write(nb, os.path.join(folder, name))
        print(name)

    def sample():
        first, *code = CELLS
        nb = v4.new_notebook(cells=[v4.new_markdown_cell(first), v4.new_raw_cell("raw\n", metadata={"format": "text/x-rst"})])
        nb.cells += [v4.new_code_cell(source, metadata={"tags": ["t"], "collapsed": False}) for source in code]
        nb.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}, "toc": {"n": 1.0}}
        return nb

    nb = sample()
    nb.cells[0]["attachments"] = {"c.png": {"image/png": "aGk="}}
    NotebookClient(nb, kernel_name="python3", allow_errors=True).execute()
    save(nb, "executed.ipynb")
    for minor in range(6):
        old = nbformat.from_dict(json.loads(json.dumps(nb)))
        old.nbformat_minor = minor
        for cell in old.cells:
            if minor < 5:
                cell.pop("id", None)
            if minor < 1:
                cell.pop("attachments", None)
            if minor < 3:
                cell.metadata.pop("execution", None)
        save(old, f"minor{minor}.ipynb")
    big = sample()
    big.cells[2].outputs = [
        v4.new_output("stream", text="\n".join(f"line {n}" for n in range(100_000))),
        v4.new_output("display_data", {"image/png": "QUJD" * 1_000_000, "text/html": "<td>%s</td>\n" % ("x" * 99) * 9999}),
        v4.new_output("error", ename="E", evalue="", traceback=["\x1b[31m" + "x" * 100_000, ""]),
    ]
    save(big, "big.ipynb")
    state = {"model_name": "IntSliderModel", "model_module": "@jupyter-widgets/controls", "model_module_version": "2.0.0"}
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "a1", "version_major": 2, "version_minor": 0}}
    widgets = sample()
    widgets.cells[2].outputs = [v4.new_output("display_data", {**widget, "text/plain": "IntSlider(value=3)"})]
    widgets.metadata["widgets"] = {
        "application/vnd.jupyter.widget-state+json": {
            "state": {"a1": {**state, "state": {"value": 3, "description": "\u00e9", "step": 0.1}, "buffers": []}},
            "version_major": 2,
            "version_minor": 0,
        }
    }
    save(widgets, "widgets.ipynb")
    try:
        import papermill
    except ImportError:
        return
    names = [os.path.join(folder, name) for name in ("parameters.ipynb", "papermill.ipynb")]
    plain = v4.new_notebook(cells=[v4.new_code_cell("a = 1", metadata={"tags": ["parameters"]}), v4.new_code_cell("a * 2")])
    plain.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    save(plain, "parameters.ipynb")
    papermill.execute_notebook(*names, parameters={"a": 2.5}, progress_bar=False)
    save(nbformat.read(names[1], as_version=4), "papermill.ipynb")


if __name__ == "__main__":
    {f.__name__: f for f in (rewrite, upgrade, validate, execute, real)}[sys.argv[1]](*sys.argv[2:])
