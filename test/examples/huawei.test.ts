/** What the guide to Huawei Cloud shows, against the stand-in. */
import t from 'tap'
import { createSse } from '../../lib/index.ts'
import { huaweiKms } from '../../lib/kms/huawei/huawei.ts'
import { startHuawei } from '../support/huawei.ts'

t.test("Huawei Cloud's key service as key manager", async t => {
  const { dew, stop, keyId: expected } = await startHuawei()
  t.teardown(stop)
  const { address, project, accessKey, secretKey } = dew
  // #region huawei
  const kms = huaweiKms({
    instance: 'dew-beijing', // full ids begin with it: it never changes
    address, // https://kms.cn-north-4.myhuaweicloud.com
    project, // its id
    credentials: () => ({ accessKey, secretKey }), // and securityToken, where they are temporary
  })
  const { keyId } = await kms.describe('photos') // by its alias: dew-beijing:PROJECT/KEY_ID
  const sse = createSse({ kms, accept: [keyId] })
  // #endregion huawei
  t.equal(keyId, expected.replace('dew1', 'dew-beijing'))
  t.ok((await sse.encrypt()).driver)
  await kms.close?.()
})
