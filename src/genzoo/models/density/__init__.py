"""Systems of the density family.

Strong at: a yardstick in minutes, in closed form or by EM; outliers.

Fails by: no structure beyond means and covariances: samples are blurs of the data.
"""
