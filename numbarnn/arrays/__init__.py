"""What lies where: descriptors of axes and lengths, batches, ragged sequences, devices."""
