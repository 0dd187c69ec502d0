// Imported before the lab: beside the labs of other tests, and not that of somebody who works with one.
process.env.CARBONADO_LAB ??= 'conformance'
