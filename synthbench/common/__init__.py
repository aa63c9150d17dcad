"""What every room uses: errors, files, words, hashes of source."""
