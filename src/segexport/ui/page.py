"""Jinja templates of the HTML pages. All pages share the style of `page.css.j2` and load no external resources."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from segexport.ui.console import printable

if TYPE_CHECKING:
    import jinja2


@lru_cache
def page_template(package: str, name: str) -> jinja2.Template:
    """The template `name` of a package; it can include the templates of this package too.

    Args:
        package: Full name of the package that contains the template.
        name: File name of the template.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package, "."), jinja2.PackageLoader("segexport.ui", ".")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    return environment.get_template(name)


def _shown(value: Any) -> Any:
    """Neutralizes characters that reorder or hide text; leaves our own markup (a subtype of str) unchanged."""
    return printable(value) if type(value) is str else value
