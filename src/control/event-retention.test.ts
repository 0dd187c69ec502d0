import { expect, test } from 'vitest'
import type { Event } from '../api/index.ts'
import { expiredEvents } from './event-retention.ts'

const now = new Date('2026-01-10T00:00:00Z')
const event = (name: string, eventTime: string, lastObservedTime?: string): Event =>
  ({ metadata: { name }, eventTime, ...(lastObservedTime ? { series: { count: 2, lastObservedTime } } : {}) }) as Event

test('what was last seen too long ago goes; a series counts by its last event', () => {
  const events = [
    event('young', '2026-01-09T23:00:00Z'),
    event('old', '2026-01-08T00:00:00Z'),
    event('old-but-repeated', '2026-01-08T00:00:00Z', '2026-01-09T23:30:00Z'),
    event('no-time', 'yesterday'),
  ]
  expect(expiredEvents(events, now, 24).map(({ metadata }) => metadata.name)).toEqual(['old', 'no-time'])
})

test('of too many the oldest go', () => {
  const events = ['21', '23', '22'].map((hour) => event(hour, `2026-01-09T${hour}:00:00Z`))
  expect(expiredEvents(events, now, 24, 2).map(({ metadata }) => metadata.name)).toEqual(['21'])
})
