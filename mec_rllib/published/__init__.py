"""What the shipped experiments have come to: data files, and the pages that are written from them.

python -m mec_rllib.published play     plays what is missing or stale, then writes the pages
python -m mec_rllib.published write    only writes the pages, from the data files alone
"""
