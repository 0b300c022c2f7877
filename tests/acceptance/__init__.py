"""A whole workshop beside a whole collector, with every fault there is: what is stored is what the machines said, or a gap record says why not."""
