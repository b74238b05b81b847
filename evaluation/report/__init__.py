"""The evaluation report: one evaluation, or one against another, as a page that plays its videos.

`choosing` says what is shown, `charts` draws, `page` puts it together on what `curation.pages`
shares. Numbers are made before; the page's scripts only play.
"""
