"""The page behind `app.py`: from a file to a table, to models, to what is shown."""
