import packageDescription from '../../package.json' with { type: 'json' }

/** Version of this dctl. */
export const version: string = packageDescription.version
