"""What is measured, side by side in one run, as ratios: timings of one machine on one day mean little by themselves."""
