import { setFlagsFromString } from 'node:v8'

/*
 * To be imported first by a program that people wait for: a server that does something a few hundred times a day would
 * otherwise interpret it almost every time. Machine code is made of each function when it first runs, and what the
 * optimising compiler wants to know is noted from then on (docs/decisions/0142).
 */
setFlagsFromString('--always-sparkplug')
setFlagsFromString('--no-lazy-feedback-allocation')
