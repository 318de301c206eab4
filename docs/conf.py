"""Sphinx's settings for the documentation site; `make docs` builds it."""

from kdmri_jax import __version__

project = "kdmri_jax"
author = "The kdmri_jax authors"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
default_role = "code"

html_theme = "furo"
html_title = f"kdmri_jax {release}"
html_show_sourcelink = False
html_show_copyright = False

autodoc_default_options = {"members": True, "imported-members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_custom_sections = ["Source"]
napoleon_use_ivar = True
napoleon_use_rtype = False


def setup(app):
  app.connect("autodoc-process-docstring", _escape_bars)


def _escape_bars(app, what, name, obj, options, lines):
  """The bars of |x| begin no substitution."""
  lines[:] = [line.replace("|", r"\|") for line in lines]
