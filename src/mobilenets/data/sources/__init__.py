"""Where labelled pictures come from: class folders, a CSV file, a split file, or the digits that come along."""
