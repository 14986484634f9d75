"""What Python's nbformat and nbclient make of notebooks, for the tests to compare with."""

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


if __name__ == "__main__":
    {f.__name__: f for f in (rewrite, upgrade, validate, execute)}[sys.argv[1]](*sys.argv[2:])
