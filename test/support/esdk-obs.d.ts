/** The part of esdk-obs-nodejs that the tests call; the package has no types. */
declare module 'esdk-obs-nodejs' {
  import type { Agent, IncomingMessage } from 'node:http'

  interface ObsOptions {
    access_key_id: string
    secret_access_key: string
    server: string
    region: string
    http_agent?: Agent
    max_retry_count?: number
  }
  export interface ObsAnswer {
    readonly CommonMsg: { readonly Status: number; readonly Code: string; readonly Message: string }
    readonly InterfaceResult?: Readonly<Record<string, unknown>>
  }
  type ObsParameters = Readonly<Record<string, unknown>> & { ResponseHook?: (answer: IncomingMessage) => void }
  type ObsMethod =
    | 'abortMultipartUpload'
    | 'completeMultipartUpload'
    | 'copyObject'
    | 'copyPart'
    | 'createBucket'
    | 'deleteBucket'
    | 'deleteBucketEncryption'
    | 'deleteBucketPolicy'
    | 'deleteBucketPublicAccessBlock'
    | 'deleteObject'
    | 'deleteObjects'
    | 'downloadFile'
    | 'getBucketEncryption'
    | 'getBucketPolicyPublicStatus'
    | 'getBucketPublicAccessBlock'
    | 'getBucketLocation'
    | 'getBucketMetadata'
    | 'getBucketPolicy'
    | 'getObject'
    | 'getObjectMetadata'
    | 'headBucket'
    | 'initiateMultipartUpload'
    | 'listBuckets'
    | 'listMultipartUploads'
    | 'listObjects'
    | 'listParts'
    | 'putObject'
    | 'putBucketPublicAccessBlock'
    | 'setBucketEncryption'
    | 'setBucketAcl'
    | 'setBucketPolicy'
    | 'uploadFile'
    | 'uploadPart'
  interface ObsForm {
    readonly Policy: string
    readonly Signature: string
    /** Key id, signature and policy in one field. */
    readonly Token: string
  }
  interface ObsFormV4 {
    readonly Policy: string
    readonly Signature: string
    readonly Algorithm: string
    readonly Credential: string
    readonly Date: string
  }
  export interface ObsUrl {
    readonly SignedUrl: string
    readonly ActualSignedRequestHeaders: Readonly<Record<string, string>>
  }
  type Calls = { [Name in ObsMethod]: (parameters: ObsParameters) => Promise<ObsAnswer> }
  interface ObsClient extends Calls {
    createSignedUrlSync(parameters: ObsParameters): ObsUrl
    createV4SignedUrlSync(parameters: ObsParameters): ObsUrl
    createPostSignatureSync(parameters: ObsParameters): ObsForm
    createV4PostSignatureSync(parameters: ObsParameters): ObsFormV4
    close(): void
  }
  const Client: new (options: ObsOptions) => ObsClient
  export default Client
}
