/** The package's version, as servers see it in `user-agent`. package.json has it too, which a library may not read. */
export const version = "0.1.0"
