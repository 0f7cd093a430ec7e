"""Networks that papers measure with, one door each: their architecture is ours, their weights are the published files.

Files are found by `worldgym.models.files.published_files`; a file that is not there is one sentence with what to type.
"""
