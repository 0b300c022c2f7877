"""What the companion specifications say a machine looks like: its standard address space beside the vendor's own folder."""
