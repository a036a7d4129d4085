"""What is kept of a run: a file for each step, and of all of them `evidence.json` and the page `evidence.html`."""
