"""The gallery: a page for each notebook of the repository with its outputs, and a page that shows a picture of each.

Pages and pictures are made of the committed notebooks when the documentation is built; the sentences are those of
``notebooks/README.md``.
"""

import base64
import json
import re

LINE = re.compile(r"^\| \[(\w+)\.ipynb\]\(\1\.ipynb\) \| (.+?) \| (.+?) \|$", re.M)


def write(path, content):
    """Write text or bytes into a file, unless it has them already: what has not changed is not read again by Sphinx."""
    content = content.encode() if isinstance(content, str) else content
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)


def block(kind, content):
    """A fenced block of MyST, with more backticks than it holds."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", content)), default=0))
    return f"{fence}{kind}\n{content.rstrip()}\n{fence}"


def shown(output, path):
    """What a page shows of one output of a cell; a picture is written into a file (is made) at `path`."""
    data = output.get("data", {})
    if "image/png" in data:
        write(path, base64.b64decode("".join(data["image/png"])))
        return f"![{path.stem.rpartition('-')[0]}: what the program above draws]({path.name})"
    if "text/html" in data:
        return block("{raw} html", "".join(data["text/html"]))
    return block("text", "".join(output.get("text", data.get("text/plain", ()))))


def write_page(notebook, folder):
    """Write the page of a notebook into a folder, and the pictures that it shows; the paths of the pictures."""
    name, pictures, parts = notebook.stem, [], []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(block("python", source))
        for output in cell["outputs"]:
            path = folder / f"{name}-{len(pictures)}.png"
            parts.append(shown(output, path))
            if "image/png" in output.get("data", {}):
                pictures.append(path)
    download = f"The notebook itself: {{download}}`{notebook.name} <../../notebooks/{notebook.name}>`."
    write(folder / f"{name}.md", "\n\n".join([parts[0], download, *parts[1:]]) + "\n")
    return pictures


def card(name, question, sentence, pictures):
    """A picture of a notebook, its question, and what it shows; of its pictures the one that holds the most."""
    picture = max(pictures, key=lambda path: path.stat().st_size)
    shown = f"[![{question}]({picture.name})]({name}.md)"
    return block("{container} card", f"{shown}\n\n[{question}]({name}.md) {sentence[0].upper()}{sentence[1:]}.")


def write_gallery(notebooks, folder):
    """Write the pages of the notebooks in a folder, and their gallery, into another folder."""
    folder.mkdir(exist_ok=True)
    readme = (notebooks / "README.md").read_text(encoding="utf-8")
    listed = LINE.findall(readme)
    there = {path.stem for path in notebooks.glob("*.ipynb")}
    if there != {name for name, _, _ in listed}:
        raise ValueError(f"notebooks/README.md: expected a line for each of {', '.join(sorted(there))}")
    cards = [card(*line, write_page(notebooks / f"{line[0]}.ipynb", folder)) for line in listed]
    before, after = re.split(r"(?ms)^\| notebook \|.*\|$", readme)
    names = block("{toctree}\n:hidden:", "\n" + "\n".join(name for name, _, _ in listed))
    gallery = block("{container} gallery", "\n\n".join(cards))
    write(folder / "index.md", "\n\n".join([before.strip(), gallery, after.strip(), names]) + "\n")
