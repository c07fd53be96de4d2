"""Rows of a table as a dataset uses them: which, and how they belong to the dataset's rows."""
