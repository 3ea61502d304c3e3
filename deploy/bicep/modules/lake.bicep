// The lake: one account with hierarchical folders, reached by identities only.
param location string
param name string
param privateNetwork bool
param tags object

var containers = ['lake', 'production', 'code', 'backups']

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: 'Standard_ZRS'
  }
  properties: {
    isHnsEnabled: true
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
      // Services that come by an identity of this tenant, such as Azure ML and Data Factory.
      bypass: 'AzureServices'
    }
  }
}

resource service 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = [for one in containers: {
  parent: service
  name: one
  properties: {
    publicAccess: 'None'
  }
}]

output id string = account.id
output name string = account.name
output url string = account.properties.primaryEndpoints.dfs
