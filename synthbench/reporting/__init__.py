"""Reports: tables, sentences and exports. Reads the store only."""
