"""What every room uses: errors, files, wording, hashes of source."""
