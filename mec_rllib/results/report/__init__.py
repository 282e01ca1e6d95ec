"""What a folder shows, as tables, pictures and pages."""

from mec_rllib.results.report.page import (
    print_rows,
    print_section,
    report,
    report_suite,
    report_whole_suite,
)

__all__ = ["print_rows", "print_section", "report", "report_suite", "report_whole_suite"]
