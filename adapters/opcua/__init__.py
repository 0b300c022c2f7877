"""OPC UA: reads machines by subscription, over asyncua's secure channel and services, with a publish loop of its own."""
