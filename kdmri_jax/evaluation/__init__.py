"""What came out: metrics, tables, statistics, figures and the report."""
