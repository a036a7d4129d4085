"""Great Expectations as it is used here: it sends nothing anywhere, and keeps nothing but in a folder that it is given.

It is imported only when something is judged (about five seconds and 230 MB).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def open_context(name: str, docs_folder: Path | None) -> Any:
    """A context of its own; with a folder one that keeps results there, and builds a site of Data Docs of them."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    stores = InMemoryStoreBackendDefaults()
    if docs_folder is not None:
        # Results kept on disk: a site built from results in memory deletes the pages of every earlier run.
        stores.stores[stores.validation_results_store_name]["store_backend"] = _on_disk(docs_folder / "results")
        stores.data_docs_sites = {
            name: {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": _on_disk(docs_folder),
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            }
        }
    return gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=stores,
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )


@contextmanager
def quiet(below: int = logging.ERROR) -> Iterator[None]:
    """Great Expectations tells about its own doings on INFO: no part of the audit record that a task's log is."""
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(below)
    try:
        yield
    finally:
        logger.setLevel(level)


def _on_disk(folder: Path) -> dict[str, str]:
    return {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())}
