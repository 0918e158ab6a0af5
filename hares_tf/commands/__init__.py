"""The command-line programs: one file per command. Nothing else parses flags."""
