/** The part of aws4 that the tests call; the package has no types. */
declare module 'aws4' {
  interface Aws4Request {
    service: string
    region: string
    host: string
    method: string
    path: string
    headers: Record<string, string>
    body?: string
    signQuery?: boolean
  }
  interface Aws4Signer {
    sign(
      request: Aws4Request,
      credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string },
    ): Aws4Request
  }
  const signer: Aws4Signer
  export default signer
}
